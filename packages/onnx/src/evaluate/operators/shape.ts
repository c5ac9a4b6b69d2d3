import { DataType } from "../../model/proto.ts";
import { shown, type OperatorCall, type OperatorTable } from "../call.ts";
import { broadcastDims, broadcastStrides, takeStrided } from "../positions.ts";
import { elementCount, tensorOf, type Tensor } from "../tensor.ts";

/** The same elements in another shape. */
export function reshaped(call: OperatorCall, source: Tensor, dims: readonly number[]): Tensor {
  if (elementCount(dims) !== source.data.length || dims.some((dim) => !(Number.isInteger(dim) && dim >= 0))) {
    call.fail(`a tensor of shape ${shown(source.dims)} cannot have the shape ${shown(dims)}`);
  }
  return { dims, dataType: source.dataType, data: source.data };
}

const identity = (call: OperatorCall): Tensor[] => [call.input(0)];

/** Dimensions from `start` to `end` (opset 15; both clamped), as int64. */
const shape = (call: OperatorCall): Tensor[] => {
  const { dims } = call.input(0);
  const clamp = (at: number) => Math.min(Math.max(at < 0 ? at + dims.length : at, 0), dims.length);
  const part = dims.slice(clamp(call.int("start", 0)), clamp(call.int("end", dims.length)));
  return [tensorOf(DataType.INT64, [part.length], part)];
};

const size = (call: OperatorCall): Tensor[] => [tensorOf(DataType.INT64, [], [call.input(0).data.length])];

/** 0 copies the input's dimension unless `allowzero`; -1 takes what is left. */
const reshape = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const target = call.integersOr(1, "shape") ?? call.fail("the target shape is required");
  const copiesZero = call.int("allowzero", 0) === 0;
  const dims = target.map((dim, i) =>
    dim === 0 && copiesZero
      ? (source.dims[i] ?? call.fail(`dimension ${i} of ${shown(target)} has nothing to copy`))
      : dim,
  );
  const open = dims.indexOf(-1);
  if (open >= 0) {
    const known = elementCount(dims.filter((_, i) => i !== open));
    dims[open] = known === 0 ? 0 : source.data.length / known;
  }
  return [reshaped(call, source, dims)];
};

/** To a matrix: what precedes `axis`, and the rest. */
const flatten = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const axis = call.axis(call.int("axis", 1), source.dims.length, true);
  return [reshaped(call, source, [elementCount(source.dims.slice(0, axis)), elementCount(source.dims.slice(axis))])];
};

/** Axes are an attribute before opset 13, an input since; without them every dimension of 1 goes. */
const squeeze = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const rank = source.dims.length;
  const axes = call.integersOr(1, "axes")?.map((axis) => call.axis(axis, rank));
  const dims = source.dims.filter((dim, i) => (axes === undefined ? dim !== 1 : !axes.includes(i)));
  return [reshaped(call, source, dims)];
};

const unsqueeze = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const given = call.integersOr(1, "axes") ?? call.fail("the axes are required");
  const rank = source.dims.length + given.length;
  const axes = new Set(given.map((axis) => call.axis(axis, rank)));
  if (axes.size !== given.length) call.fail(`axes ${shown(given)} name one twice`);
  const rest = source.dims.values();
  const dims = Array.from({ length: rank }, (_, i) => (axes.has(i) ? 1 : rest.next().value!));
  return [reshaped(call, source, dims)];
};

/** Broadcasts both ways: a dimension of 1 in the target keeps the input's. */
const expand = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const target = call.integers(1) ?? call.fail("the target shape is required");
  const dims = broadcastDims(call, source.dims, target);
  if (dims.length === source.dims.length && elementCount(dims) === source.data.length) return [source];
  return [takeStrided(call, source, dims, broadcastStrides(source.dims, dims))];
};

/** Operators that read or change the shape alone. */
export const shapeOperators: OperatorTable = {
  Identity: identity,
  Shape: shape,
  Size: size,
  Reshape: reshape,
  Flatten: flatten,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Expand: expand,
};
