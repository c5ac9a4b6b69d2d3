import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";

import { FavorError } from "@favor/core";

import { runHeadJob } from "./head-job.ts";
import type { HeadJob, HeadResult } from "./head-job.ts";
import type { HeadAnswer } from "./head-worker.ts";

/** Threads need the built worker. When run from the sources (tests), jobs run in this thread, with the same results. */
const workerPath = import.meta.url.endsWith(".ts")
  ? undefined
  : fileURLToPath(new URL("./head-worker.js", import.meta.url));

interface Waiting {
  readonly job: HeadJob;
  resolve(result: ReturnType<typeof runHeadJob>): void;
  reject(error: unknown): void;
}

/** Threads that each work on one head at a time. Results do not depend on their number. */
export class HeadPool {
  readonly #idle: Worker[] = [];
  readonly #workers: Worker[] = [];
  readonly #queue: Waiting[] = [];

  /** @param threads - at least 1. */
  constructor(threads: number) {
    if (workerPath === undefined) return;
    for (let i = 0; i < threads; i++) this.#workers.push(new Worker(workerPath));
    this.#idle.push(...this.#workers);
  }

  /** @throws what {@link runHeadJob} throws. */
  async run<Job extends HeadJob>(job: Job): Promise<HeadResult<Job>> {
    if (this.#workers.length === 0) return runHeadJob(job);
    return new Promise<ReturnType<typeof runHeadJob>>((resolve, reject) => {
      this.#queue.push({ job, resolve, reject });
      this.#next();
    }) as Promise<HeadResult<Job>>;
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  #next(): void {
    const worker = this.#idle.pop();
    if (worker === undefined) return;
    const waiting = this.#queue.shift();
    if (waiting === undefined) {
      this.#idle.push(worker);
      return;
    }
    const answered = (answer: HeadAnswer): void => {
      worker.off("error", failed);
      this.#idle.push(worker);
      this.#next();
      if ("result" in answer) waiting.resolve(answer.result);
      else waiting.reject(errorOf(answer));
    };
    // The thread died (out of memory), and the others would too.
    const failed = (error: Error): void => {
      for (const { reject } of [waiting, ...this.#queue.splice(0)]) reject(error);
    };
    worker.once("message", answered).once("error", failed);
    worker.postMessage(waiting.job, []);
  }
}

function errorOf(answer: Exclude<HeadAnswer, { result: unknown }>): Error {
  const { code, message, details } = answer;
  return code === undefined ? new Error(message) : new FavorError(message, { code, details });
}
