/**
 * Bytes that lie somewhere (memory, a file, a network cache) and are read when somebody needs them. Reading is
 * synchronous: the browser hands in memory, Node a file descriptor.
 */
export interface ByteRange {
  /** in bytes */
  readonly length: number;
  /**
   * Fills `target` with the bytes from `offset` on.
   * Throws an OnnxError when the range ends before, or when the file has changed or cannot be read.
   */
  readInto(target: Uint8Array, offset: number): void;
}

/** Where the values of a tensor lie: the range, and the field (or the external data) whose bytes these are. */
export interface TensorSource {
  readonly field: "rawData" | "floatData" | "doubleData" | "externalData";
  readonly range: ByteRange;
}

/** The bytes `[offset, offset + length)` of a range in a buffer of their own, aligned for every element type. */
export function readRange(range: ByteRange, offset = 0, length: number = range.length - offset): Uint8Array {
  const bytes = new Uint8Array(length);
  range.readInto(bytes, offset);
  return bytes;
}

/** The whole of `bytes` as a range. */
export function memoryRange(bytes: Uint8Array): ByteRange {
  return {
    length: bytes.length,
    readInto: (target, offset) => target.set(bytes.subarray(offset, offset + target.length)),
  };
}

/** The bytes `[offset, offset + length)` of `range`, which has them: the caller has checked the bounds. */
export function subRange(range: ByteRange, offset: number, length: number): ByteRange {
  return { length, readInto: (target, from) => range.readInto(target, offset + from) };
}
