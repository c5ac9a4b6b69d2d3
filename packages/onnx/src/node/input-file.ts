import fs from "node:fs";
import { createHash } from "node:crypto";
import type { ByteRange } from "../model/byte-range.ts";
import { ModelFileError } from "../model/errors.ts";
import { fileError } from "./file-errors.ts";

/** Files that are open as input. They must not be overwritten. */
const openFiles = new Set<InputFile>();

/** Bytes read at a time for hashing. */
const hashedLength = 1 << 20;

/** A file that stays open and is read in any place when bytes are needed. It must not change meanwhile. */
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
      const kind = this.stats.isDirectory() ? "a folder" : "not a regular file";
      throw new ModelFileError("not-a-file", path, `Cannot read ${JSON.stringify(path)}: it is ${kind}. Pass a file.`);
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

  /** SHA-256 of the whole file in hexadecimal. Each piece is read while the previous one is hashed. */
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
        // Awaited in the next iteration.
        piece.catch(() => undefined);
      }
      hash.update(bytes);
    }
    this.#check();
    return hash.digest("hex");
  }

  /** Reads bytes from `offset`: at least one, at most as many as fit the buffer. */
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

  /** Closes the file. Its ranges can no longer be read. Closing it again does nothing. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    openFiles.delete(this);
    this.#closeWhenUnread();
  }

  /** If a descriptor were closed during a read, the system might read from another file with the same number. */
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
      `${JSON.stringify(this.path)} changed while it was being read. Wait until it is completely written, then try again.`,
    );
  }
}

/** Throws ModelFileError "would-overwrite" if `path` is a file that is open as input, even under another name. */
export function refuseOverwriting(path: string): void {
  const stats = fs.statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return;
  for (const file of openFiles) {
    if (file.stats.ino !== stats.ino || file.stats.dev !== stats.dev) continue;
    throw new ModelFileError(
      "would-overwrite",
      path,
      `Cannot write ${JSON.stringify(path)}: it is the model being read. Choose another name or folder.`,
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
