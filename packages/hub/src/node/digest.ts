import { createHash } from "node:crypto";
import { Worker } from "node:worker_threads";

import type { Digest, DigestFactory } from "../transfer/digest.ts";

/** From how many bytes on a thread of its own is worth its start. */
const threadBytes = 64 * 2 ** 20;
/** How many blocks may wait for the thread. */
const waitingBlocks = 8;

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

/** A program rather than a module: it runs as it is in every build, and from the sources. */
const program = `
  const { parentPort, workerData } = process.getBuiltinModule("node:worker_threads");
  const hash = process.getBuiltinModule("node:crypto").createHash(workerData);
  parentPort.on("message", ({ block, length }) => {
    if (block === undefined) return parentPort.postMessage({ hash: hash.copy().digest("hex") });
    hash.update(block.subarray(0, length));
    parentPort.postMessage({ block }, [block.buffer]);
  });`;

/** What the thread answers: a block that it is done with, or the hash so far. */
type Answer = { readonly block: Uint8Array<ArrayBuffer> } | { readonly hash: string };

class ThreadDigest implements Digest {
  readonly #worker: Worker;
  /** Blocks that the thread gave back: fresh memory would cost as much as the hashing. */
  readonly #free: Uint8Array<ArrayBuffer>[] = [];
  #waiting = 0;
  #failure: Error | undefined;
  /** In the order of the questions; each hash answers the first. */
  readonly #asked: { resolve: (hash: string) => void; reject: (error: Error) => void }[] = [];
  #room: (() => void)[] = [];

  constructor(algorithm: "sha256" | "sha1") {
    this.#worker = new Worker(program, { eval: true, workerData: algorithm, execArgv: [] });
    this.#worker.on("message", (answer: Answer) => this.#answered(answer));
    this.#worker.on("error", (error: Error) => this.#failed(error));
  }

  async update(bytes: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const fitting = this.#free.findIndex((block) => block.length >= bytes.length);
    const block = fitting < 0 ? new Uint8Array(bytes.length) : this.#free.splice(fitting, 1)[0]!;
    block.set(bytes);
    this.#waiting++;
    this.#worker.postMessage({ block, length: bytes.length }, [block.buffer]);
    if (this.#waiting > waitingBlocks) await new Promise<void>((resolve) => this.#room.push(resolve));
  }

  current(): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      this.#asked.push({ resolve, reject });
      this.#worker.postMessage({}, []);
    });
  }

  close(): void {
    this.#failed(new Error("The hash was closed."));
    void this.#worker.terminate();
  }

  #answered(answer: Answer): void {
    if ("hash" in answer) {
      this.#asked.shift()?.resolve(answer.hash);
      return;
    }
    this.#waiting--;
    this.#free.push(answer.block);
    this.#room.shift()?.();
  }

  /** Nobody may wait for a thread that answers no more. */
  #failed(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#asked.splice(0)) reject(this.#failure);
    for (const resolve of this.#room.splice(0)) resolve();
  }
}
