import { parentPort } from "node:worker_threads";

import { FavorError } from "@favor/core";

import { runHeadJob } from "./head-job.ts";
import type { HeadJob } from "./head-job.ts";

/** The answer of a worker. Errors lose their class between threads, so their contents are sent. */
export type HeadAnswer =
  | { readonly result: ReturnType<typeof runHeadJob> }
  | {
      readonly code: string | undefined;
      readonly message: string;
      readonly details: Readonly<Record<string, unknown>>;
    };

parentPort!.on("message", (job: HeadJob) => {
  let answer: HeadAnswer;
  try {
    answer = { result: runHeadJob(job) };
  } catch (error) {
    answer = FavorError.isInstance(error)
      ? { code: error.code, message: error.message, details: error.details }
      : {
          code: undefined,
          message: error instanceof Error ? (error.stack ?? error.message) : String(error),
          details: {},
        };
  }
  parentPort!.postMessage(answer, []);
});
