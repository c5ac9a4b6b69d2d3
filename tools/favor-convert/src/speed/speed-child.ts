import { readFileSync } from "node:fs";

import { RandomStream, streamPurpose } from "@favor/core";

import { ModelRunner } from "@favor/measure";
import type { RunnerOptions } from "@favor/measure";

/** The request of the parent process, as JSON in the first argument. */
export interface SpeedTask {
  readonly model: string;
  readonly length: number;
  /** From `runnerOptions`. */
  readonly options: RunnerOptions;
  readonly threads: number;
  /** Timed runs, after one untimed run. */
  readonly runs: number;
  /** Seconds after which no further run begins; if only the first was made, it counts. Default: no limit. */
  readonly patience?: number;
}

/** The answer, as JSON on stdout. */
export interface SpeedAnswer {
  /** Median of the timed runs. */
  readonly seconds: number;
  /** Processor time of a run, of all threads together, median too: on a busy machine, with one thread, the time that counts. */
  readonly processorSeconds: number;
  /** Peak resident memory of the process, including model and runtime. */
  readonly peakBytes: number;
}

const task = JSON.parse(process.argv[2] ?? "") as SpeedTask;
const random = new RandomStream({ seed: 0, purpose: streamPurpose.trials });
const runner = await ModelRunner.open(task.model, { ...task.options, threads: task.threads });
const vocabulary = runner.feeding.vocabulary ?? task.options.vocabulary ?? 2;
const ids = Array.from({ length: task.length }, () => random.integer(vocabulary));
const [output] = runner.outputs;
const began = performance.now();
const spent = (since: number): number => (performance.now() - since) / 1000;
const times: { readonly seconds: number; readonly processorSeconds: number }[] = [];
for (let run = 0; run <= task.runs; run++) {
  if (run > 0 && spent(began) > (task.patience ?? Infinity)) break;
  const [start, processor] = [performance.now(), process.cpuUsage()];
  await runner.runAll([ids], [output!]);
  const seconds = spent(start);
  const { user, system } = process.cpuUsage(processor);
  times.push({ seconds, processorSeconds: (user + system) / 1e6 });
}
if (times.length > 1) times.shift();
const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
/** Peak resident memory of this process, in bytes. */
function peakBytes(): number {
  // On Linux, rusage includes what the parent held when it started this process; VmHWM does not.
  const status = process.platform === "linux" ? readFileSync("/proc/self/status", "utf8") : "";
  const [, own] = /^VmHWM:\s*(\d+) kB$/m.exec(status) ?? [];
  return (own === undefined ? process.resourceUsage().maxRSS : Number(own)) * 1024;
}

const answer: SpeedAnswer = {
  seconds: median(times.map(({ seconds }) => seconds)),
  processorSeconds: median(times.map(({ processorSeconds }) => processorSeconds)),
  peakBytes: peakBytes(),
};
process.stdout.write(JSON.stringify(answer));
