import Long from "long";
import { Reader } from "protobufjs/minimal.js";
import { ModelFormatError } from "./errors.ts";
import { memoryRange, subRange } from "./byte-range.ts";
import type { ByteRange } from "./byte-range.ts";

/** Bytes of a file that are held at a time during parsing. */
const windowLength = 1 << 20;
/** The longest tag and value without a length prefix: two varints of ten bytes. */
const longestScalar = 20;

/**
 * protobufjs' Reader over a source that may be larger than memory: it holds a window of the source and moves it on
 * demand. For bytes in memory, the window is the whole source, and bytes are views; for a file, they are copies.
 */
export class WireReader {
  readonly length: number;
  readonly #source: ByteRange;
  readonly #inMemory: boolean;
  #reader: Reader;
  #base = 0;
  /** Reused for every window: anything kept of a window has been copied. */
  #window: Uint8Array = new Uint8Array(0);

  constructor(source: Uint8Array | ByteRange) {
    this.#inMemory = source instanceof Uint8Array;
    this.#source = source instanceof Uint8Array ? memoryRange(source) : source;
    this.length = source.length;
    this.#reader = new Reader(source instanceof Uint8Array ? source : new Uint8Array(0));
  }

  /** Bytes read so far: the offset in the source. */
  get position(): number {
    return this.#base + this.#reader.pos;
  }

  /** protobufjs' reader with at least `length` bytes ahead, or all remaining ones. */
  ahead(length: number = longestScalar): Reader {
    const reader = this.#reader;
    if (reader.len - reader.pos >= length || this.#base + reader.len >= this.length) return reader;
    this.#base += reader.pos;
    const wanted = Math.min(this.length - this.#base, Math.max(length, windowLength));
    if (this.#window.length < wanted) this.#window = new Uint8Array(wanted);
    const window = this.#window.subarray(0, wanted);
    this.#source.readInto(window, this.#base);
    this.#reader = new Reader(window);
    return this.#reader;
  }

  /**
   * Reads a varint of 64 bits. protobufjs' own `int64` does not serve: without a CommonJS `require` (in a browser) it
   * finds no `long` and returns an inexact number; with one, it returns the class of another build of `long`.
   */
  int64(unsigned: boolean): Long {
    const reader = this.ahead();
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (reader.pos >= reader.len) throw new RangeError("index out of range");
      const byte = reader.buf[reader.pos++]!;
      const bits = byte & 127;
      if (shift < 32) low |= bits << shift;
      if (shift > 28) high |= bits << (shift - 32);
      else if (shift === 28) high |= bits >>> 4;
      if (byte < 128) return Long.fromBits(low, high, unsigned);
    }
    throw new Error("invalid varint encoding");
  }

  /** Reads a length prefix and checks that so many bytes follow before `end`. */
  lengthPrefix(end: number): number {
    const at = this.position;
    const reader = this.ahead();
    let length: number;
    try {
      length = reader.size();
    } catch (cause) {
      if (cause instanceof RangeError) throw cause;
      throw new ModelFormatError(
        "malformed",
        `The length at byte ${at} is 2 GiB or more, which no protobuf message can be. ` +
          "The file is damaged, or was written without external data. Download or export it again.",
        at,
        cause,
      );
    }
    if (this.position + length > this.length) {
      throw new ModelFormatError(
        "truncated",
        `The file ends after ${this.length} bytes, but the field at byte ${at} needs ${this.position + length}. ` +
          "The download or the export was cut off. Download or export it again.",
        at,
      );
    }
    if (this.position + length > end) {
      throw new ModelFormatError(
        "malformed",
        `The field at byte ${at} is longer than the message around it. The file is damaged. Download or export it again.`,
        at,
      );
    }
    return length;
  }

  /** The next `length` bytes: a view if the source is in memory, otherwise a copy. */
  bytes(length: number): Uint8Array {
    const reader = this.ahead(length);
    const start = reader.pos;
    reader.skip(length);
    const view = reader.buf.subarray(start, start + length);
    return this.#inMemory ? view : Uint8Array.from(view);
  }

  /** The next `length` bytes as a range of the source, unread; undefined if the source is in memory. */
  range(length: number): ByteRange | undefined {
    if (this.#inMemory) return undefined;
    const range = subRange(this.#source, this.position, length);
    this.seek(this.position + length);
    return range;
  }

  /** The bytes from `start` to the current position. */
  since(start: number): Uint8Array {
    const length = this.position - start;
    this.seek(start);
    return this.bytes(length);
  }

  /** Moves to a byte of the source. */
  seek(position: number): void {
    if (position >= this.#base && position <= this.#base + this.#reader.len) {
      this.#reader.pos = position - this.#base;
    } else {
      this.#base = position;
      this.#reader = new Reader(new Uint8Array(0));
    }
  }
}
