import { DataType } from "../../model/proto.ts";
import type { OperatorCall, OperatorTable } from "../call.ts";
import { tensorOf, type Tensor } from "../tensor.ts";
import { axisView } from "../positions.ts";

const constant = (call: OperatorCall): Tensor[] => {
  const value = call.tensor("value");
  if (value !== undefined) return [value];
  const float = call.float("value_float");
  if (float !== undefined) return [tensorOf(DataType.FLOAT, [], [float])];
  const int = call.int("value_int");
  if (int !== undefined) return [tensorOf(DataType.INT64, [], [int])];
  const floats = call.attribute("value_floats")?.floats;
  if (floats !== undefined) return [tensorOf(DataType.FLOAT, [floats.length], floats)];
  const ints = call.ints("value_ints");
  if (ints !== undefined) return [tensorOf(DataType.INT64, [ints.length], ints)];
  throw call.unsupported("sparse and string constants are not held by the evaluator");
};

/** `value` (one element, default float32 0) everywhere. */
const constantOfShape = (call: OperatorCall): Tensor[] => {
  const dims = call.integers(0) ?? call.fail("the shape is required");
  const value = call.tensor("value");
  const dataType = value?.dataType ?? DataType.FLOAT;
  const data = call.data(dims, dataType).fill(value?.data[0] ?? 0);
  return [{ dims, dataType, data }];
};

/** start, start + delta, ... before limit */
const range = (call: OperatorCall): Tensor[] => {
  const start = call.scalar(0);
  const delta = call.scalar(2);
  if (delta === 0) call.fail("delta is 0");
  const { dataType } = call.input(0);
  const dims = [Math.max(0, Math.ceil((call.scalar(1) - start) / delta))];
  const data = call.data(dims, dataType);
  for (let i = 0; i < data.length; i++) data[i] = start + i * delta;
  return [{ dims, dataType, data }];
};

/** Ones on the diagonal k of a matrix as large as the input. */
const eyeLike = (call: OperatorCall): Tensor[] => {
  const like = call.input(0);
  if (like.dims.length !== 2) call.fail(`it needs a matrix, found rank ${like.dims.length}`);
  const columns = like.dims[1]!;
  const k = call.int("k", 0);
  const dataType = call.int("dtype", like.dataType);
  const data = call.data(like.dims, dataType);
  for (let row = 0; row < like.dims[0]!; row++) {
    const column = row + k;
    if (column >= 0 && column < columns) data[row * columns + column] = 1;
  }
  return [{ dims: like.dims, dataType, data }];
};

/** values = [off, on]; a new axis of length `depth`; indices outside [-depth, depth - 1] give a row of off. */
const oneHot = (call: OperatorCall): Tensor[] => {
  const indices = call.exact(0);
  const depth = Math.trunc(call.scalar(1));
  const values = call.input(2);
  const rank = indices.dims.length + 1;
  const axis = call.axis(call.int("axis", -1), rank);
  const dims = [...indices.dims.slice(0, axis), depth, ...indices.dims.slice(axis)];
  const data = call.data(dims, values.dataType).fill(values.data[0]!);
  const { inner } = axisView(dims, axis);
  for (let i = 0; i < indices.data.length; i++) {
    const given = indices.data[i]!;
    const index = given < 0 ? given + depth : given;
    if (!(index >= 0 && index < depth)) continue;
    data[(Math.floor(i / inner) * depth + index) * inner + (i % inner)] = values.data[1]!;
  }
  return [{ dims, dataType: values.dataType, data }];
};

/** Inference: the input itself, and a mask that keeps everything. */
const dropout = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  if (call.optional(2) !== null && call.scalar(2) !== 0 && (call.optional(1) === null || call.scalar(1) !== 0)) {
    throw call.unsupported("dropout in training mode is random");
  }
  if (!call.wants(1)) return [source];
  // The mask is Boolean since opset 10.
  const dataType = call.opset < 10 ? source.dataType : DataType.BOOL;
  return [source, { dims: source.dims, dataType, data: call.data(source.dims, dataType).fill(1) }];
};

/** Operators that make tensors from nothing but shapes and parameters; and Dropout, which does nothing. */
export const generationOperators: OperatorTable = {
  Constant: constant,
  ConstantOfShape: constantOfShape,
  Range: range,
  EyeLike: eyeLike,
  OneHot: oneHot,
  Dropout: dropout,
};
