import { readRange } from "@favor/onnx";
import type { ByteRange } from "@favor/onnx";
import { deferredRange } from "./deferred-range.ts";

/** A view of elements that need not be contiguous, like PyTorch's tensors. */
export interface StridedView {
  readonly dims: readonly number[];
  /** Strides in elements, one per dimension; not negative. */
  readonly strides: readonly number[];
  /** Size of an element in bytes: 1, 2, 4, 8 or 16. */
  readonly width: number;
}

/** The number of source elements that a view spans; 0 if it is empty. */
export function reach({ dims, strides }: StridedView): number {
  if (dims.includes(0)) return 0;
  return dims.reduce((last, dim, axis) => last + (dim - 1) * strides[axis]!, 0) + 1;
}

/** Whether the view is row-major without gaps, so that its bytes are a contiguous part of the source. */
export function isContiguous({ dims, strides }: StridedView): boolean {
  let expected = 1;
  for (let axis = dims.length - 1; axis >= 0; axis--) {
    // The stride of an axis of length 1 does not matter.
    if (dims[axis]! !== 1 && strides[axis]! !== expected) return dims.includes(0);
    expected *= dims[axis]!;
  }
  return true;
}

/**
 * The elements of a view in row-major order, for a source that begins with the view's first element and has its
 * {@link reach}. They are reordered when they are read.
 */
export function stridedRange(source: ByteRange, view: StridedView): ByteRange {
  const { dims, width } = view;
  const length = dims.reduce((product, dim) => product * dim, width);
  return deferredRange(length, () => gather(readRange(source, 0, reach(view) * width), view, length));
}

function gather(bytes: Uint8Array, view: StridedView, length: number): Uint8Array {
  const { width } = view;
  // An element of 16 bytes is copied as two of 8.
  const pieces = Math.max(1, width / 8);
  const dims = pieces > 1 ? [...view.dims, pieces] : view.dims;
  const strides = pieces > 1 ? [...view.strides.map((stride) => stride * pieces), 1] : view.strides;
  const result = new Uint8Array(length);
  switch (width) {
    case 1:
      move(bytes, result, dims, strides);
      break;
    case 2:
      move(new Uint16Array(bytes.buffer), new Uint16Array(result.buffer), dims, strides);
      break;
    case 4:
      move(new Uint32Array(bytes.buffer), new Uint32Array(result.buffer), dims, strides);
      break;
    default:
      // Not Float64, which may change NaNs.
      move(new BigUint64Array(bytes.buffer), new BigUint64Array(result.buffer), dims, strides);
  }
  return result;
}

function move<T>(
  from: { readonly [index: number]: T },
  to: { [index: number]: T; readonly length: number },
  dims: readonly number[],
  strides: readonly number[],
): void {
  const inner = dims.at(-1) ?? 1;
  const innerStride = strides.at(-1) ?? 0;
  const outer = dims.slice(0, -1);
  const index = outer.map(() => 0);
  let start = 0;
  for (let at = 0; at < to.length; at += inner) {
    for (let i = 0; i < inner; i++) to[at + i] = from[start + i * innerStride]!;
    for (let axis = outer.length - 1; axis >= 0; axis--) {
      start += strides[axis]!;
      if (++index[axis]! < outer[axis]!) break;
      start -= outer[axis]! * strides[axis]!;
      index[axis] = 0;
    }
  }
}
