import { createHash, randomBytes } from "node:crypto";
import type { Hash } from "node:crypto";
import fs from "node:fs";
import { basename, dirname, join } from "node:path";
import type { ByteRange } from "../model/byte-range.ts";
import { fileError } from "./file-errors.ts";
import { refuseOverwriting } from "./input-file.ts";

/** Bytes written at a time. Buffers larger than the processor's cache take twice as long. */
const chunkLength = 1 << 20;

/**
 * A file that appears under its name only once it is complete: it is written under a temporary name in the same folder,
 * flushed to the disk, then renamed. Every method may throw ModelFileError; the caller then calls `discard`.
 *
 * There are two buffers: while one is written (and hashed, on request), the other is filled.
 */
export class OutputFile {
  readonly path: string;
  readonly #temporary: string;
  #handle: fs.promises.FileHandle | undefined;
  #published = false;
  #length = 0;
  readonly #hash: Hash | undefined;
  #sha256: string | undefined;
  /** The buffer that is being filled, and the one that may still be on its way to the disk. */
  #buffers: [filling: Uint8Array, writing: Uint8Array] | undefined;
  #filled = 0;
  #writing: Promise<void> = Promise.resolve();

  /** @param options.sha256 whether to hash the file, for {@link OutputFile.sha256} */
  constructor(path: string, options: { readonly sha256: boolean }) {
    this.path = path;
    this.#hash = options.sha256 ? createHash("sha256") : undefined;
    this.#temporary = join(dirname(path), `.${basename(path)}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`);
  }

  /** Bytes appended so far. */
  get length(): number {
    return this.#length;
  }

  /** SHA-256 of the finished file in hexadecimal, if requested. */
  get sha256(): string | undefined {
    return this.#sha256;
  }

  async open(): Promise<void> {
    refuseOverwriting(this.path);
    try {
      const stats = fs.lstatSync(this.path, { throwIfNoEntry: false });
      if (stats?.isDirectory() === true) throw Object.assign(new Error("is a folder"), { code: "EISDIR" });
      this.#handle = await fs.promises.open(this.#temporary, "wx");
    } catch (cause) {
      throw fileError("write", this.path, cause);
    }
  }

  /** Appends bytes, or reads and appends a range piece by piece. */
  async append(part: Uint8Array | ByteRange, signal?: AbortSignal): Promise<void> {
    for (let offset = 0; offset < part.length;) {
      signal?.throwIfAborted();
      const room = this.#room(part.length - offset);
      if (part instanceof Uint8Array) room.set(part.subarray(offset, offset + room.length));
      else part.readInto(room, offset);
      offset += room.length;
      await this.#advance(room.length);
    }
  }

  /** Appends zeros up to a multiple of `alignment` bytes. */
  async align(alignment: number): Promise<void> {
    const padding = (alignment - (this.#length % alignment)) % alignment;
    if (padding > 0) await this.append(new Uint8Array(padding));
  }

  /** Flushes the file to the disk. After this, only `publish` and `discard` may be called. */
  async finish(): Promise<void> {
    await this.#flush();
    await this.#writing;
    this.#buffers = undefined;
    this.#sha256 = this.#hash?.digest("hex");
    try {
      await this.#handle!.sync();
      await this.#handle!.close();
      this.#handle = undefined;
    } catch (cause) {
      throw fileError("write", this.path, cause);
    }
  }

  /** Gives the file its name. */
  async publish(): Promise<void> {
    try {
      await fs.promises.rename(this.#temporary, this.path);
      this.#published = true;
    } catch (cause) {
      throw fileError("write", this.path, cause);
    }
  }

  /** Removes the temporary file. Does not throw, because it runs after another failure. */
  async discard(): Promise<void> {
    await this.#handle?.close().catch(() => undefined);
    this.#handle = undefined;
    await fs.promises.rm(this.#published ? this.path : this.#temporary, { force: true }).catch(() => undefined);
  }

  /** The part of the buffer for the next bytes, at most `length`. */
  #room(length: number): Uint8Array {
    this.#buffers ??= [Buffer.allocUnsafeSlow(chunkLength), Buffer.allocUnsafeSlow(chunkLength)];
    return this.#buffers[0].subarray(this.#filled, this.#filled + length);
  }

  async #advance(bytes: number): Promise<void> {
    this.#filled += bytes;
    this.#length += bytes;
    if (this.#filled === chunkLength) await this.#flush();
  }

  /** Starts writing the filled buffer once the bytes before it are written. */
  async #flush(): Promise<void> {
    await this.#writing;
    if (this.#filled === 0) return;
    const [filling, writing] = this.#buffers!;
    const bytes = filling.subarray(0, this.#filled);
    this.#buffers = [writing, filling];
    this.#filled = 0;
    this.#writing = this.#write(bytes);
    // Awaited before the next bytes are written; `discard` may come first.
    this.#writing.catch(() => undefined);
    this.#hash?.update(bytes);
  }

  async #write(bytes: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < bytes.length;) {
        const { bytesWritten } = await this.#handle!.write(bytes, done, bytes.length - done);
        done += bytesWritten;
      }
    } catch (cause) {
      throw fileError("write", this.path, cause);
    }
  }
}
