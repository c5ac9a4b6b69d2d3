import type { ByteRange } from "@favor/onnx";

/**
 * A range of `length` bytes that are computed when they are read, so that transposed weights take no memory until they are
 * written. Reading in pieces, from first to last, computes the bytes only once; they are released after the last piece.
 */
export function deferredRange(length: number, make: () => Uint8Array): ByteRange {
  let made: Uint8Array | undefined;
  return {
    length,
    readInto: (target, offset) => {
      const bytes = made ?? make();
      target.set(bytes.subarray(offset, offset + target.length));
      made = offset + target.length < length ? bytes : undefined;
    },
  };
}
