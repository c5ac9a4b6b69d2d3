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
    await file.truncate(length);
    return new TrainingLog(file, length);
  }

  /** Bytes so far. */
  get length(): number {
    return this.#length;
  }

  /** Adds a line with an object as JSON. */
  async append(entry: object): Promise<void> {
    const line = Buffer.from(`${JSON.stringify(entry)}\n`);
    await this.#file.write(line, 0, line.length, this.#length);
    this.#length += line.length;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}
