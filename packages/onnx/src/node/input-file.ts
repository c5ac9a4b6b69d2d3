import fs from "node:fs";
import { createHash } from "node:crypto";
import type { ByteRange } from "../model/byte-range.ts";
import { ModelFileError } from "../model/errors.ts";
import { fileError } from "./file-errors.ts";

/** Files that are open as input now: nothing may be written over them. */
const openFiles = new Set<InputFile>();

/** How much is read at a time to be hashed, in bytes. */
const hashedLength = 1 << 20;

/** A file that stays open, read at any place when bytes are needed. It must not change meanwhile. */
export class InputFile implements ByteRange {
  readonly path: string;
  readonly length: number;
  readonly stats: fs.Stats;
  readonly #descriptor: number;
  #open = true;
  #reads = 0;

  /**
   * Opens a regular file for reading. A symbolic link is followed unless `followLinks` is false.
   * Throws ModelFileError: "not-found", "not-a-file" (folders, FIFOs, devices), "permission-denied", "io-failed".
   */
  constructor(path: string, options: { readonly followLinks?: boolean } = {}) {
    this.path = path;
    const { O_RDONLY, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = fs.constants;
    try {
      // Opening a FIFO would wait for a writer without O_NONBLOCK.
      const flags = O_RDONLY | O_NONBLOCK | (options.followLinks === false ? O_NOFOLLOW : 0);
      this.#descriptor = fs.openSync(path, flags);
    } catch (cause) {
      throw fileError("read", path, cause);
    }
    this.stats = fs.fstatSync(this.#descriptor);
    if (!this.stats.isFile()) {
      fs.closeSync(this.#descriptor);
      const kind = this.stats.isDirectory() ? "a folder" : "no regular file";
      throw new ModelFileError("not-a-file", path, `Cannot read ${JSON.stringify(path)}: it is ${kind}. Give a file.`);
    }
    this.length = this.stats.size;
    openFiles.add(this);
  }

  readInto(target: Uint8Array, offset: number): void {
    this.#check();
    let done = 0;
    while (done < target.length) {
      let read: number;
      try {
        read = fs.readSync(this.#descriptor, target, done, target.length - done, offset + done);
      } catch (cause) {
        throw fileError("read", this.path, cause);
      }
      if (read === 0) throw this.#changed();
      done += read;
    }
  }

  /** SHA-256 of the whole file in hexadecimal; one piece is read while the one before it is hashed. */
  async sha256(): Promise<string> {
    const hash = createHash("sha256");
    let [free, reading] = [Buffer.allocUnsafeSlow(hashedLength), Buffer.allocUnsafeSlow(hashedLength)];
    let piece = this.#readPiece(reading, 0);
    for (let offset = 0; offset < this.length;) {
      const bytes = await piece;
      offset += bytes.length;
      [free, reading] = [reading, free];
      if (offset < this.length) {
        piece = this.#readPiece(reading, offset);
        // It is awaited in the next turn.
        piece.catch(() => undefined);
      }
      hash.update(bytes);
    }
    this.#check();
    return hash.digest("hex");
  }

  /** The bytes from `offset` on, as many as the buffer takes or the system gives at once: at least one. */
  async #readPiece(buffer: Uint8Array, offset: number): Promise<Uint8Array> {
    this.#check();
    const length = Math.min(buffer.length, this.length - offset);
    this.#reads++;
    const read = await new Promise<number>((resolve, reject) => {
      fs.read(this.#descriptor, buffer, 0, length, offset, (cause, bytesRead) => {
        this.#reads--;
        this.#closeWhenUnread();
        if (cause === null) resolve(bytesRead);
        else reject(fileError("read", this.path, cause));
      });
    });
    if (read === 0 && length > 0) throw this.#changed();
    return buffer.subarray(0, read);
  }

  /** Closes the file; ranges of it can no longer be read. Closing twice does nothing. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    openFiles.delete(this);
    this.#closeWhenUnread();
  }

  /** A descriptor closed under a read that has begun could be another file's by the time that the system reads. */
  #closeWhenUnread(): void {
    if (!this.#open && this.#reads === 0) fs.closeSync(this.#descriptor);
  }

  #check(): void {
    if (!this.#open) {
      throw new ModelFileError(
        "io-failed",
        this.path,
        `Cannot read ${JSON.stringify(this.path)}: the model has been closed. Read or write it before closing.`,
      );
    }
    const { size, mtimeMs } = fs.fstatSync(this.#descriptor);
    if (size !== this.length || mtimeMs !== this.stats.mtimeMs) throw this.#changed();
  }

  #changed(): ModelFileError {
    return new ModelFileError(
      "file-changed",
      this.path,
      `${JSON.stringify(this.path)} changed while it was being read. Wait until it is written, then try again.`,
    );
  }
}

/** Throws ModelFileError "would-overwrite" when `path` is a file that is open as input, under whatever name. */
export function refuseOverwriting(path: string): void {
  const stats = fs.statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return;
  for (const file of openFiles) {
    if (file.stats.ino !== stats.ino || file.stats.dev !== stats.dev) continue;
    throw new ModelFileError(
      "would-overwrite",
      path,
      `Cannot write ${JSON.stringify(path)}: it is the model that is being read. Choose another name or folder.`,
    );
  }
}

/** SHA-256 of a file in hexadecimal, read piece by piece. Throws ModelFileError. */
export async function hashFile(path: string): Promise<string> {
  const file = new InputFile(path);
  try {
    return await file.sha256();
  } finally {
    file.close();
  }
}
