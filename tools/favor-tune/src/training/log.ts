import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";

/** A JSON Lines file that grows by a line a step: for other tools. */
export class TrainingLog {
  readonly #file: FileHandle;
  #length: number;

  private constructor(file: FileHandle, length: number) {
    this.#file = file;
    this.#length = length;
  }

  /**
   * Opens the log for going on.
   *
   * @param length - the bytes that count: what stands after them is dropped. 0: an empty log.
   */
  static async open(path: string, length: number): Promise<TrainingLog> {
    const file = await open(path, length === 0 ? "w" : "r+");
    // "w" has emptied it.
    if (length > 0) await file.truncate(length);
    return new TrainingLog(file, length);
  }

  /** Bytes so far. */
  get length(): number {
    return this.#length;
  }

  /** Adds a line with an object as JSON. */
  async append(entry: object): Promise<void> {
    const line = Buffer.from(`${JSON.stringify(entry)}\n`);
    // A disk that is nearly full takes a part of a line, and refuses the rest.
    for (let done = 0; done < line.length;) {
      done += (await this.#file.write(line, done, line.length - done, this.#length + done)).bytesWritten;
    }
    this.#length += line.length;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}
