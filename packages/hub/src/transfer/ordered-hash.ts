import type { Checkpoint, PartialFile } from "../cache.ts";
import type { Digest } from "./digest.ts";
import { RangeSet } from "./ranges.ts";

/** How much is read back from disk at once. */
const readBytes = 2 ** 20;

/**
 * Hashes a file in order while its parts arrive in any order. A digest that can read the file itself is told how far it
 * may; else bytes that continue the hashed prefix are hashed as they come, and those written ahead of it are read back
 * (both from the system's page cache) once the gap is closed.
 */
export class OrderedHash {
  readonly #digest: Digest;
  readonly #partial: PartialFile;
  readonly #done: RangeSet;
  #hashed = 0;
  /** One for all reads: fresh memory of this size costs more than the hashing. */
  #buffer: Uint8Array<ArrayBuffer> | undefined;
  #catchingUp: Promise<void> | undefined;

  /** @param digest empty, but for Git's header */
  constructor(digest: Digest, partial: PartialFile, done: RangeSet = new RangeSet()) {
    this.#digest = digest;
    this.#partial = partial;
    this.#done = done;
  }

  get done(): RangeSet {
    return this.#done;
  }

  /** Tells that bytes have been written to the partial file; they may change once the promise is settled. */
  async written(position: number, bytes: Uint8Array): Promise<void> {
    this.#done.add(position, position + bytes.length);
    if (this.#handOver(this.#done.endOfRun(this.#hashed))) return;
    if (this.#catchingUp === undefined && position === this.#hashed) {
      this.#hashed += bytes.length;
      await this.#digest.update(bytes);
    }
    this.#catchUp();
  }

  /** Hashes the first `bytes` bytes, which must be on disk. */
  async hashPrefix(bytes: number): Promise<string> {
    await this.#readBack(() => bytes);
    return this.#digest.current();
  }

  async checkpoint(): Promise<Checkpoint> {
    // Taken together: what is given to the digest meanwhile does not count.
    const [done, prefixBytes, digest] = [this.#done.ranges, this.#hashed, this.#digest.current()];
    return { done, prefixBytes, prefixDigest: await digest };
  }

  close(): void {
    this.#digest.close();
  }

  /** The hash of the whole file, once all of it has been written. */
  async finish(): Promise<string> {
    while (this.#catchingUp !== undefined) await this.#catchingUp;
    await this.#readBack(() => this.#done.endOfRun(this.#hashed));
    return this.#digest.current();
  }

  #catchUp(): void {
    if (this.#catchingUp !== undefined || this.#done.endOfRun(this.#hashed) === this.#hashed) return;
    this.#catchingUp = this.#readBack(() => this.#done.endOfRun(this.#hashed)).finally(() => {
      this.#catchingUp = undefined;
    });
    // Its failure is thrown by finish(); until then nobody waits for it.
    this.#catchingUp.catch(() => undefined);
  }

  /** Whether the digest reads for itself, from now on as far as `end`. */
  #handOver(end: number): boolean {
    const { descriptor } = this.#partial;
    if (this.#digest.updateFrom === undefined || descriptor === undefined) return false;
    if (end > this.#hashed) this.#digest.updateFrom(descriptor, this.#hashed, end);
    this.#hashed = end;
    return true;
  }

  async #readBack(end: () => number): Promise<void> {
    if (this.#handOver(end())) return;
    while (this.#hashed < end()) {
      this.#buffer ??= new Uint8Array(readBytes);
      const into = this.#buffer.subarray(0, Math.min(readBytes, end() - this.#hashed));
      const count = await this.#partial.read(this.#hashed, into);
      if (count === 0) throw new RangeError(`The partial file ends at ${this.#hashed}, before ${end()}.`);
      this.#hashed += count;
      await this.#digest.update(into.subarray(0, count));
    }
  }
}
