import type { ByteRange } from "@favor/onnx";

/**
 * A range of `length` bytes that are made when they are read: transposed weights cost no memory until a writer comes
 * to them. Who reads in pieces, from the first to the last, has the bytes made once; they are let go with the last.
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
