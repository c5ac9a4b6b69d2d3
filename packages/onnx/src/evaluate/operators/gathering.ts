import { DataType } from "../../model/proto.ts";
import { shown, type OperatorCall, type OperatorTable } from "../call.ts";
import { axisView, stridesOf } from "../positions.ts";
import { elementCount, type Tensor } from "../tensor.ts";

/** `index` into `length` elements, counted from the end if negative. */
function boundedIndex(call: OperatorCall, index: number, length: number): number {
  const positive = index < 0 ? index + length : index;
  if (!(positive >= 0 && positive < length)) call.fail(`index ${index} is out of bounds for ${length} elements`);
  return positive;
}

/** output[a, i, b] = source[a, indices[i], b] */
const gather = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const indices = call.input(1);
  const axis = call.axis(call.int("axis", 0), source.dims.length);
  const { outer, length, inner } = axisView(source.dims, axis);
  const dims = [...source.dims.slice(0, axis), ...indices.dims, ...source.dims.slice(axis + 1)];
  const data = call.data(dims, source.dataType);
  const rows = Array.from(indices.data, (index) => boundedIndex(call, index, length));
  let at = 0;
  for (let block = 0; block < outer; block++) {
    for (const row of rows) {
      const start = (block * length + row) * inner;
      data.set(source.data.subarray(start, start + inner), at);
      at += inner;
    }
  }
  return [{ dims, dataType: source.dataType, data }];
};

/**
 * For each element of `indices`, the position in a tensor of shape `dims` that GatherElements and ScatterElements
 * mean: the element's own index, with the one at `axis` replaced by its value.
 */
export function elementPositions(
  call: OperatorCall,
  dims: readonly number[],
  indices: Tensor,
  axis: number,
): Int32Array {
  const fits = indices.dims.length === dims.length && indices.dims.every((dim, i) => i === axis || dim <= dims[i]!);
  if (!fits) call.fail(`indices of shape ${shown(indices.dims)} do not fit ${shown(dims)}`);
  const strides = stridesOf(dims);
  const indexStrides = stridesOf(indices.dims);
  call.operations(indices.data.length);
  return Int32Array.from(indices.data, (value, i) => {
    let position = boundedIndex(call, value, dims[axis]!) * strides[axis]!;
    for (let other = 0; other < dims.length; other++) {
      if (other === axis) continue;
      position += (Math.floor(i / indexStrides[other]!) % indices.dims[other]!) * strides[other]!;
    }
    return position;
  });
}

const gatherElements = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const indices = call.input(1);
  const positions = elementPositions(call, source.dims, indices, call.axis(call.int("axis", 0), source.dims.length));
  const data = call.data(indices.dims, source.dataType);
  for (let i = 0; i < data.length; i++) data[i] = source.data[positions[i]!]!;
  return [{ dims: indices.dims, dataType: source.dataType, data }];
};

/** The slices that the tuples in the last dimension of `indices` address. */
export interface SlicePositions {
  readonly starts: Int32Array;
  /** Elements of each slice. */
  readonly inner: number;
  readonly sliceDims: readonly number[];
}

/** Finds the slices of a tensor of shape `dims` that tuples in `indices` ([..., depth]) address; `batch` axes are shared. */
export function slicePositions(
  call: OperatorCall,
  dims: readonly number[],
  indices: Tensor,
  batch: number = 0,
): SlicePositions {
  const depth = indices.dims.at(-1) ?? call.fail("indices must have at least one dimension");
  if (batch + depth > dims.length || indices.dims.length <= batch) {
    call.fail(`indices of shape ${shown(indices.dims)} do not fit ${shown(dims)}`);
  }
  const strides = stridesOf(dims);
  const tuples = elementCount(indices.dims.slice(0, -1));
  const perBatch = elementCount(indices.dims.slice(batch, -1));
  const batchSize = elementCount(dims.slice(batch));
  const starts = new Int32Array(tuples);
  call.operations(indices.data.length);
  for (let tuple = 0; tuple < tuples; tuple++) {
    let position = Math.floor(tuple / perBatch) * batchSize;
    for (let i = 0; i < depth; i++) {
      position += boundedIndex(call, indices.data[tuple * depth + i]!, dims[batch + i]!) * strides[batch + i]!;
    }
    starts[tuple] = position;
  }
  const sliceDims = dims.slice(batch + depth);
  return { starts, inner: elementCount(sliceDims), sliceDims };
}

const gatherNd = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const indices = call.input(1);
  const { starts, inner, sliceDims } = slicePositions(call, source.dims, indices, call.int("batch_dims", 0));
  const dims = [...indices.dims.slice(0, -1), ...sliceDims];
  const data = call.data(dims, source.dataType);
  for (let i = 0; i < starts.length; i++) {
    data.set(source.data.subarray(starts[i]!, starts[i]! + inner), i * inner);
  }
  return [{ dims, dataType: source.dataType, data }];
};

/** The slices along `axis` (all elements, flattened, without it) where the condition is true. */
const compress = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const condition = call.input(1).data;
  const given = call.int("axis");
  const flat = given === undefined;
  const axis = flat ? 0 : call.axis(given, source.dims.length);
  const shape = flat ? [source.data.length] : source.dims;
  const { outer, length, inner } = axisView(shape, axis);
  const kept: number[] = [];
  for (let i = 0; i < Math.min(length, condition.length); i++) if (condition[i] !== 0) kept.push(i);
  const dims = shape.map((dim, i) => (i === axis ? kept.length : dim));
  const data = call.data(dims, source.dataType);
  let at = 0;
  for (let block = 0; block < outer; block++) {
    for (const row of kept) {
      const start = (block * length + row) * inner;
      data.set(source.data.subarray(start, start + inner), at);
      at += inner;
    }
  }
  return [{ dims, dataType: source.dataType, data }];
};

/** Indices of the elements that are not 0, int64 [rank, count], in row-major order. */
const nonZero = (call: OperatorCall): Tensor[] => {
  const source = call.exact(0);
  const found: number[] = [];
  call.operations(source.data.length);
  for (let i = 0; i < source.data.length; i++) if (source.data[i] !== 0) found.push(i);
  const strides = stridesOf(source.dims);
  const dims = [source.dims.length, found.length];
  const data = call.data(dims, DataType.INT64);
  for (const [axis, stride] of strides.entries()) {
    for (const [i, position] of found.entries()) {
      data[axis * found.length + i] = Math.floor(position / stride) % source.dims[axis]!;
    }
  }
  return [{ dims, dataType: DataType.INT64, data }];
};

/** Operators that pick elements by index or condition. */
export const gatheringOperators: OperatorTable = {
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherNd,
  Compress: compress,
  NonZero: nonZero,
};
