import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";

/** A JSON Lines file with one line per step, for other tools. */
export class TrainingLog {
  readonly #file: FileHandle;
  #length: number;

  private constructor(file: FileHandle, length: number) {
    this.#file = file;
    this.#length = length;
  }

  /**
   * Opens the log.
   *
   * @param length - bytes to keep; anything after them is dropped. 0 empties the log.
   */
  static async open(path: string, length: number): Promise<TrainingLog> {
    const file = await open(path, length === 0 ? "w" : "r+");
    // "w" has already emptied it.
    if (length > 0) await file.truncate(length);
    return new TrainingLog(file, length);
  }

  /** Length in bytes. */
  get length(): number {
    return this.#length;
  }

  /** Appends an object as a line of JSON. */
  async append(entry: object): Promise<void> {
    const line = Buffer.from(`${JSON.stringify(entry)}\n`);
    // A nearly full disk may write only part of a line.
    for (let done = 0; done < line.length;) {
      done += (await this.#file.write(line, done, line.length - done, this.#length + done)).bytesWritten;
    }
    this.#length += line.length;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}
