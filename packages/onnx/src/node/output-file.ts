import { randomBytes } from "node:crypto";
import fs from "node:fs";
import { basename, dirname, join } from "node:path";
import type { ByteRange } from "../model/byte-range.ts";
import { fileError } from "./file-errors.ts";
import { refuseOverwriting } from "./input-file.ts";

/** How much of a range is copied at a time, in bytes. */
const chunkLength = 4 << 20;

/**
 * A file that appears under its name only when it is whole: written under a temporary name in the same folder,
 * flushed to the disk, then renamed. Every method throws ModelFileError; the caller then calls `discard`.
 */
export class OutputFile {
  readonly path: string;
  readonly #temporary: string;
  #handle: fs.promises.FileHandle | undefined;
  #published = false;
  #length = 0;
  #buffer: Uint8Array | undefined;

  constructor(path: string) {
    this.path = path;
    this.#temporary = join(dirname(path), `.${basename(path)}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`);
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
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

  /** Appends bytes, or the bytes of a range, piece by piece. */
  async append(part: Uint8Array | ByteRange, signal?: AbortSignal): Promise<void> {
    if (part instanceof Uint8Array) {
      signal?.throwIfAborted();
      await this.#write(part);
      return;
    }
    this.#buffer ??= new Uint8Array(chunkLength);
    for (let offset = 0; offset < part.length; offset += chunkLength) {
      signal?.throwIfAborted();
      const chunk = this.#buffer.subarray(0, Math.min(chunkLength, part.length - offset));
      part.readInto(chunk, offset);
      await this.#write(chunk);
    }
  }

  /** Appends zeros up to a multiple of `alignment` bytes. */
  async align(alignment: number): Promise<void> {
    const padding = (alignment - (this.#length % alignment)) % alignment;
    if (padding > 0) await this.#write(new Uint8Array(padding));
  }

  /** Flushes the file to the disk; after this only `publish` or `discard`. */
  async finish(): Promise<void> {
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

  /** Removes what was written. Does not throw: it runs after something else has failed. */
  async discard(): Promise<void> {
    await this.#handle?.close().catch(() => undefined);
    this.#handle = undefined;
    await fs.promises.rm(this.#published ? this.path : this.#temporary, { force: true }).catch(() => undefined);
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
    this.#length += bytes.length;
  }
}
