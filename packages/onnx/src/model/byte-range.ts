/**
 * Bytes in memory, in a file or in a network cache, read only when needed. Reading is synchronous: the browser passes
 * memory, Node passes a file descriptor.
 */
export interface ByteRange {
  /** in bytes */
  readonly length: number;
  /**
   * Fills `target` with the bytes that start at `offset`.
   * Throws an OnnxError if the range is too short, or if the file has changed or cannot be read.
   */
  readInto(target: Uint8Array, offset: number): void;
}

/** Where the values of a tensor are stored: the byte range, and the field (or external data) that it belongs to. */
export interface TensorSource {
  readonly field: "rawData" | "floatData" | "doubleData" | "externalData";
  readonly range: ByteRange;
}

/** Copies the bytes `[offset, offset + length)` of a range into a new buffer, aligned for every element type. */
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

/** The bytes `[offset, offset + length)` of `range`. The caller has checked the bounds. */
export function subRange(range: ByteRange, offset: number, length: number): ByteRange {
  return { length, readInto: (target, from) => range.readInto(target, offset + from) };
}
