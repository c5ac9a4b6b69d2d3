import { logSlope } from "./timing.ts";
import type { Timing } from "./timing.ts";

/** FAVOR on two workers, in the table. */
export const TWO_THREADS = "favor, 2 threads";

/** A goal of the project, held against what was measured. */
export interface Goal {
  readonly statement: string;
  readonly measured: number;
  readonly met: boolean;
}

/** name's time at a length, or undefined. */
export function timeOf(timings: readonly Timing[], name: string, causal: boolean, length: number): number | undefined {
  return timings.find((t) => t.name === name && t.causal === causal && t.length === length)?.milliseconds;
}

/**
 * The goals that these timings can judge, at the longest length up to 8192 that was measured: ratios of other
 * implementations' times to FAVOR's, one thread's to two's, and the growth of FAVOR's with the length from 1024 on.
 */
export function judge(timings: readonly Timing[]): Goal[] {
  const length = Math.max(...timings.map((t) => t.length).filter((l) => l <= 8192));
  const goals: Goal[] = [];
  const ratio = (other: string, causal: boolean, least: number): void => {
    const theirs = timeOf(timings, other, causal, length);
    const ours = timeOf(timings, "favor", causal, length);
    if (theirs === undefined || ours === undefined) return;
    const direction = causal ? "causal" : "bidirectional";
    const statement = `${direction}, L = ${length}: at least ${least} times as fast as ${other}`;
    goals.push({ statement, measured: theirs / ours, met: theirs / ours >= least });
  };
  ratio("performer-pytorch", false, 1);
  ratio("sdpa", false, 4);
  ratio("performer-pytorch", true, 10);
  ratio("sdpa", true, 1.5);
  for (const causal of [false, true]) {
    const one = timeOf(timings, "favor", causal, length);
    const two = timeOf(timings, TWO_THREADS, causal, length);
    if (one !== undefined && two !== undefined) {
      const statement = `${causal ? "causal" : "bidirectional"}, L = ${length}: two threads at least 1.7 times one`;
      goals.push({ statement, measured: one / two, met: one / two >= 1.7 });
    }
    const ours = timings.filter((t) => t.name === "favor" && t.causal === causal && t.length >= 1024);
    if (ours.length < 2) continue;
    const slope = logSlope(ours);
    const statement = `${causal ? "causal" : "bidirectional"}: log-log slope in L at most 1.05 from 1024 on`;
    goals.push({ statement, measured: slope, met: slope <= 1.05 });
  }
  return goals;
}

/** A table per direction: milliseconds, and in brackets how many times FAVOR's. */
export function table(timings: readonly Timing[]): string {
  const names = [...new Set(timings.map((t) => t.name))];
  const lengths = [...new Set(timings.map((t) => t.length))].toSorted((a, b) => a - b);
  const lines: string[] = [];
  for (const causal of [false, true]) {
    const width = 18;
    const header = [causal ? "causal" : "bidirectional", ...lengths.map((l) => `L = ${l}`)];
    lines.push(header.map((cell) => cell.padEnd(width)).join(""));
    for (const name of names) {
      const cells = lengths.map((length) => {
        const time = timeOf(timings, name, causal, length);
        const ours = timeOf(timings, "favor", causal, length);
        if (time === undefined) return "-";
        return ours === undefined ? time.toFixed(1) : `${time.toFixed(1)} (${(time / ours).toFixed(2)})`;
      });
      lines.push([name, ...cells].map((cell) => cell.padEnd(width)).join(""));
    }
    lines.push("");
  }
  return lines.map((line) => line.trimEnd()).join("\n");
}
