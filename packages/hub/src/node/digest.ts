import { createHash } from "node:crypto";
import { Worker } from "node:worker_threads";

import type { Digest, DigestFactory } from "../transfer/digest.ts";

/** Size in bytes from which a separate thread is worth starting. */
const threadBytes = 64 * 2 ** 20;

/** Node's hashes; those of large files in another thread, where they cost the download no time. */
export const nodeDigest: DigestFactory = (algorithm, bytes) => {
  if (bytes >= threadBytes) return new ThreadDigest(algorithm);
  const hash = createHash(algorithm);
  return {
    update: (block) => void hash.update(block),
    current: () => hash.copy().digest("hex"),
    close: () => undefined,
  };
};

/**
 * A program rather than a module: it runs as it is in every build, and from the sources. Each message has one answer,
 * in order.
 */
const program = `
  const { parentPort, workerData } = process.getBuiltinModule("node:worker_threads");
  const { readSync } = process.getBuiltinModule("node:fs");
  const hash = process.getBuiltinModule("node:crypto").createHash(workerData);
  const buffer = new Uint8Array(2 ** 20);
  parentPort.on("message", ({ bytes, descriptor, start, end }) => {
    if (bytes !== undefined) hash.update(bytes);
    for (let at = start; at < end;) {
      const count = readSync(descriptor, buffer, 0, Math.min(buffer.length, end - at), at);
      if (count === 0) throw new RangeError("The partial file ends at " + at + ", before " + end + ".");
      hash.update(buffer.subarray(0, count));
      at += count;
    }
    parentPort.postMessage(bytes ?? descriptor ? "" : hash.copy().digest("hex"));
  });`;

interface Order {
  readonly bytes?: Uint8Array;
  readonly descriptor?: number;
  readonly start?: number;
  readonly end?: number;
}

class ThreadDigest implements Digest {
  readonly #worker: Worker;
  #failure: Error | undefined;
  /** In the order of the messages; each answer is for the first. */
  readonly #waiting: { resolve: (answer: string) => void; reject: (error: Error) => void }[] = [];

  constructor(algorithm: "sha256" | "sha1") {
    this.#worker = new Worker(program, { eval: true, workerData: algorithm, execArgv: [] });
    this.#worker.on("message", (answer: string) => this.#waiting.shift()?.resolve(answer));
    this.#worker.on("error", (error: Error) => this.#failed(error));
  }

  async update(bytes: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    // What fails from now on is thrown by current(), or by the next update.
    await this.#order({ bytes }).catch(() => undefined);
  }

  updateFrom(descriptor: number, start: number, end: number): void {
    this.#order({ descriptor, start, end }).catch(() => undefined);
  }

  current(): Promise<string> {
    return this.#order({});
  }

  close(): void {
    this.#failed(new Error("The hash was closed."));
    void this.#worker.terminate();
  }

  #order(order: Order): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      this.#waiting.push({ resolve, reject });
      this.#worker.postMessage(order, []);
    });
  }

  /** Nobody may wait for a thread that answers no more. */
  #failed(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
  }
}
