import { DataType } from "../../model/proto.ts";
import {
  checkReshape,
  expandedDims,
  flattenedDims,
  reshapedDims,
  shapeOf,
  squeezedDims,
  unsqueezedDims,
} from "../../semantics/shapes.ts";
import type { OperatorCall, OperatorTable } from "../call.ts";
import { broadcastStrides, takeStrided } from "../positions.ts";
import { elementCount, tensorOf, type Tensor } from "../tensor.ts";

/** The same elements in another shape. */
export function reshaped(call: OperatorCall, source: Tensor, dims: readonly number[]): Tensor {
  checkReshape(call, source.dims, dims);
  return { dims, dataType: source.dataType, data: source.data };
}

/** An operator that gives its input another shape. */
const reshaping =
  (dimsOf: (call: OperatorCall, dims: readonly number[]) => readonly number[]) =>
  (call: OperatorCall): Tensor[] => {
    const source = call.input(0);
    return [reshaped(call, source, dimsOf(call, source.dims))];
  };

const identity = (call: OperatorCall): Tensor[] => [call.input(0)];

/** The dimensions, as int64. */
const shape = (call: OperatorCall): Tensor[] => {
  const dims = shapeOf(call, call.input(0).dims);
  return [tensorOf(DataType.INT64, [dims.length], dims)];
};

const size = (call: OperatorCall): Tensor[] => [tensorOf(DataType.INT64, [], [call.input(0).data.length])];

const expand = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const dims = expandedDims(call, source.dims);
  if (dims.length === source.dims.length && elementCount(dims) === source.data.length) return [source];
  return [takeStrided(call, source, dims, broadcastStrides(source.dims, dims))];
};

/** Operators that read or change only the shape. */
export const shapeOperators: OperatorTable = {
  Identity: identity,
  Shape: shape,
  Size: size,
  Reshape: reshaping(reshapedDims),
  Flatten: reshaping(flattenedDims),
  Squeeze: reshaping(squeezedDims),
  Unsqueeze: reshaping(unsqueezedDims),
  Expand: expand,
};
