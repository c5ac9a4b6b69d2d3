import { InputError } from "@favor/checkpoints";
import type { PassCost } from "@favor/report";
import type { RunnerOptions } from "@favor/measure";
import { runChild } from "./run-child.ts";

/** A model to time. */
export interface TimedModel {
  /** Its `.onnx` file. */
  readonly path: string;
  /** From `runnerOptions`. */
  readonly options: RunnerOptions;
}

export interface TurnOptions {
  /** Tokens. */
  readonly length: number;
  /** Threads of onnxruntime. */
  readonly threads: number;
  /** The most passes in each process after the first; default 50. Further ones begin only within a second. */
  readonly runs?: number;
  /** The most rounds; default 3. Further ones begin only within 20 seconds. */
  readonly rounds?: number;
  /** Called after each process, with 1. */
  readonly tick?: (done: number) => void;
  /** Called with the error of a model that does not run; without it, the error is thrown. */
  readonly failed?: (error: InputError) => void;
}

/** The most rounds, the seconds after which no further one begins, and the same for the passes in each process. */
const usual = { rounds: 3, seconds: 20, runs: 50, patience: 1 };

/**
 * Times models at one length. They take turns, each time in a process of its own: what else the machine does then
 * burdens them alike. Of several rounds, the shortest time and the least memory count, because other programs only add.
 *
 * @returns in the order of the models; undefined for models that do not run.
 * @throws {InputError} `model-fails-to-run`, unless `failed` takes it.
 */
export async function timeInTurns(
  models: readonly TimedModel[],
  { length, threads, runs = usual.runs, rounds = usual.rounds, tick, failed }: TurnOptions,
): Promise<(PassCost | undefined)[]> {
  const best: (PassCost | undefined)[] = models.map(() => ({ seconds: Infinity, peakBytes: Infinity }));
  const began = performance.now();
  for (let round = 0; round < rounds; round++) {
    if (round > 0 && performance.now() - began > 1000 * usual.seconds) break;
    for (const [i, { path, options }] of models.entries()) {
      const { [i]: known } = best;
      if (known === undefined) continue;
      try {
        const { patience } = usual;
        const { seconds, peakBytes } = await runChild({ model: path, length, options, threads, runs, patience });
        best[i] = {
          seconds: Math.min(known.seconds, seconds),
          peakBytes: Math.min(known.peakBytes, peakBytes),
        };
      } catch (error) {
        if (failed === undefined || !(error instanceof InputError)) throw error;
        best[i] = undefined;
        failed(error);
      }
      tick?.(1);
    }
  }
  return best;
}
