import { broadcastDims } from "../semantics/shapes.ts";
import type { OperatorCall } from "./call.ts";
import { elementCount, roundInPlace, type Tensor, type TensorData } from "./tensor.ts";

/** Row-major strides of `dims`, in elements. */
export function stridesOf(dims: readonly number[]): number[] {
  const strides: number[] = Array.from(dims, () => 1);
  for (let i = dims.length - 2; i >= 0; i--) strides[i] = strides[i + 1]! * dims[i + 1]!;
  return strides;
}

/**
 * For each element of a tensor of shape `dims`, the position `offset + sum(index[i] * strides[i])` in a source.
 * Slicing, transposing, expanding and broadcasting are all of this form.
 */
export function stridedPositions(dims: readonly number[], strides: readonly number[], offset: number = 0): Int32Array {
  const positions = new Int32Array(elementCount(dims));
  const index = new Int32Array(dims.length);
  const width = dims.at(-1) ?? 1;
  const step = strides.at(-1) ?? 0;
  let position = offset;
  for (let i = 0; i < positions.length;) {
    for (let column = 0; column < width; column++) positions[i++] = position + column * step;
    for (let axis = dims.length - 2; axis >= 0; axis--) {
      position += strides[axis]!;
      if (++index[axis]! < dims[axis]!) break;
      position -= strides[axis]! * dims[axis]!;
      index[axis] = 0;
    }
  }
  return positions;
}

/** Strides that repeat a tensor of shape `dims` over the shape `target`, to which it broadcasts. */
export function broadcastStrides(dims: readonly number[], target: readonly number[]): number[] {
  const own = stridesOf(dims);
  const missing = target.length - dims.length;
  return target.map((_, i) => (i < missing || dims[i - missing] === 1 ? 0 : own[i - missing]!));
}

/** Positions in a tensor of shape `dims` for each element of `target`; null if both have the same layout. */
export function broadcastPositions(dims: readonly number[], target: readonly number[]): Int32Array | null {
  const [own, all] = [elementCount(dims), elementCount(target)];
  if (own === all) return null;
  return own === 1 ? new Int32Array(all) : stridedPositions(target, broadcastStrides(dims, target));
}

/** The tensor of shape `dims` whose elements are those of `source` at {@link stridedPositions}. */
export function takeStrided(
  call: OperatorCall,
  source: Tensor,
  dims: readonly number[],
  strides: readonly number[],
  offset: number = 0,
): Tensor {
  const data = call.data(dims, source.dataType);
  // In two steps, row by row and then within the row: positions of all elements would take longer than the elements.
  const width = dims.at(-1) ?? 1;
  const step = strides.at(-1) ?? 0;
  const rows = stridedPositions(dims.slice(0, -1), strides.slice(0, -1), offset);
  for (let row = 0, i = 0; i < data.length; row++) {
    let position = rows[row]!;
    for (const end = i + width; i < end; i++, position += step) data[i] = source.data[position]!;
  }
  return { dims, dataType: source.dataType, data };
}

/** A tensor of freshly computed values, rounded if the type is a small floating-point one. */
export function computed(dims: readonly number[], dataType: number, data: TensorData): Tensor {
  roundInPlace(dataType, data);
  return { dims, dataType, data };
}

/** `f` of each element. */
export function mapUnary(call: OperatorCall, dataType: number, f: (value: number) => number): Tensor {
  const x = call.input(0);
  const data = call.data(x.dims, dataType);
  for (let i = 0; i < data.length; i++) data[i] = f(x.data[i]!);
  return computed(x.dims, dataType, data);
}

/** `f` of each pair of elements, broadcasting. */
export function mapBinary(
  call: OperatorCall,
  a: Tensor,
  b: Tensor,
  dataType: number,
  f: (a: number, b: number) => number,
): Tensor {
  const dims = broadcastDims(call, a.dims, b.dims);
  const data = call.data(dims, dataType);
  if (b.data.length === 1 && a.data.length === data.length) {
    const scalar = b.data[0]!;
    for (let i = 0; i < data.length; i++) data[i] = f(a.data[i]!, scalar);
    return computed(dims, dataType, data);
  }
  const left = broadcastPositions(a.dims, dims);
  const right = broadcastPositions(b.dims, dims);
  for (let i = 0; i < data.length; i++) {
    data[i] = f(a.data[left === null ? i : left[i]!]!, b.data[right === null ? i : right[i]!]!);
  }
  return computed(dims, dataType, data);
}

/** A tensor split at one axis: `outer` blocks of `length` rows of `inner` elements. */
export interface AxisView {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
}

/** `dims` as seen from `axis` (not negative): what precedes it, itself, what follows. A scalar has length 1. */
export function axisView(dims: readonly number[], axis: number): AxisView {
  return {
    outer: elementCount(dims.slice(0, axis)),
    length: dims[axis] ?? 1,
    inner: elementCount(dims.slice(axis + 1)),
  };
}
