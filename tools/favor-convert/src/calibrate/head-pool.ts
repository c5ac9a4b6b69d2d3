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
  readonly #threads: number;
  readonly #queue: Waiting[] = [];
  #idle: Worker[] = [];
  #workers: Worker[] = [];

  /** @param threads - at least 1. */
  constructor(threads: number) {
    this.#threads = threads;
  }

  /** @throws what {@link runHeadJob} throws. */
  async run<Job extends HeadJob>(job: Job): Promise<HeadResult<Job>> {
    if (workerPath === undefined) return runHeadJob(job);
    return new Promise<ReturnType<typeof runHeadJob>>((resolve, reject) => {
      this.#queue.push({ job, resolve, reject });
      this.#next();
    }) as Promise<HeadResult<Job>>;
  }

  /** Ends the threads, between jobs, and with them the memory that they keep. Further jobs start others. */
  async close(): Promise<void> {
    const workers = this.#workers;
    [this.#workers, this.#idle] = [[], []];
    await Promise.all(workers.map((worker) => worker.terminate()));
  }

  #next(): void {
    if (this.#queue.length === 0) return;
    const worker = this.#idle.pop() ?? this.#started();
    if (worker === undefined) return;
    const waiting = this.#queue.shift()!;
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

  /** A further thread; undefined if there are enough. */
  #started(): Worker | undefined {
    if (this.#workers.length === this.#threads) return undefined;
    const worker = new Worker(workerPath!);
    this.#workers.push(worker);
    return worker;
  }
}

function errorOf(answer: Exclude<HeadAnswer, { result: unknown }>): Error {
  const { code, message, details } = answer;
  return code === undefined ? new Error(message) : new FavorError(message, { code, details });
}
