import { readRange } from "@favor/onnx";
import type { ByteRange } from "@favor/onnx";
import { deferredRange } from "./deferred-range.ts";

/** A view of elements that need not lie one after another, as PyTorch's tensors are. */
export interface StridedView {
  readonly dims: readonly number[];
  /** In elements, one for each of `dims`; not negative. */
  readonly strides: readonly number[];
  /** Of an element, in bytes: 1, 2, 4, 8 or 16. */
  readonly width: number;
}

/** How many elements of the source a view reaches over; 0 when it is empty. */
export function reach({ dims, strides }: StridedView): number {
  if (dims.includes(0)) return 0;
  return dims.reduce((last, dim, axis) => last + (dim - 1) * strides[axis]!, 0) + 1;
}

/** Whether the view is row-major without gaps, so that its bytes are a piece of the source. */
export function isContiguous({ dims, strides }: StridedView): boolean {
  let expected = 1;
  for (let axis = dims.length - 1; axis >= 0; axis--) {
    // The stride of an axis of one element does not matter.
    if (dims[axis]! !== 1 && strides[axis]! !== expected) return dims.includes(0);
    expected *= dims[axis]!;
  }
  return true;
}

/**
 * The elements of a view, row-major, of a source that begins with the view's first element and holds its
 * {@link reach}. They are put in order when they are read.
 */
export function stridedRange(source: ByteRange, view: StridedView): ByteRange {
  const { dims, width } = view;
  const length = dims.reduce((product, dim) => product * dim, width);
  return deferredRange(length, () => gather(readRange(source, 0, reach(view) * width), view, length));
}

function gather(bytes: Uint8Array, view: StridedView, length: number): Uint8Array {
  const { width } = view;
  // An element of 16 bytes is two of 8, side by side.
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
      // Float64 would do as well, were it not for NaNs.
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
