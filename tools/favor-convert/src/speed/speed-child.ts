import { readFileSync } from "node:fs";

import { RandomStream, streamPurpose } from "@favor/core";

import { ModelRunner } from "@favor/measure";

/** What the parent process asks of this one, as JSON in its first argument. */
export interface SpeedTask {
  readonly model: string;
  readonly length: number;
  /** Random ids are drawn below this. */
  readonly vocabulary: number;
  readonly threads: number;
  /** Timed runs after one that is not timed. */
  readonly runs: number;
}

/** What this process answers, as JSON on stdout. */
export interface SpeedAnswer {
  /** Median of the timed runs. */
  readonly seconds: number;
  /** The most memory that the process held resident, model and runtime included. */
  readonly peakBytes: number;
}

const task = JSON.parse(process.argv[2] ?? "") as SpeedTask;
const random = new RandomStream({ seed: 0, purpose: streamPurpose.trials });
const ids = Array.from({ length: task.length }, () => random.integer(task.vocabulary));
const runner = await ModelRunner.open(task.model, { threads: task.threads });
const [output] = runner.outputs;
const times: number[] = [];
for (let run = 0; run <= task.runs; run++) {
  const start = performance.now();
  await runner.runAll([ids], [output!]);
  if (run > 0) times.push((performance.now() - start) / 1000);
}
/** The most memory, in bytes, that this process held resident. */
function peakBytes(): number {
  // Linux counts to a process's rusage what its parent held when it was started, and to VmHWM what is its own.
  const status = process.platform === "linux" ? readFileSync("/proc/self/status", "utf8") : "";
  const [, own] = /^VmHWM:\s*(\d+) kB$/m.exec(status) ?? [];
  return (own === undefined ? process.resourceUsage().maxRSS : Number(own)) * 1024;
}

const answer: SpeedAnswer = {
  seconds: times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)]!,
  peakBytes: peakBytes(),
};
process.stdout.write(JSON.stringify(answer));
