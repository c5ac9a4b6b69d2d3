import { logSlope } from "./timing.ts";
import type { Setting, Timing } from "./timing.ts";

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

/** What `attention.json` holds. */
export interface Report {
  readonly setting: Setting;
  readonly machine: {
    readonly processor: string;
    /** The load average over the minute before the start, which other programs caused. */
    readonly load: number;
    readonly node: string;
    readonly kernels: string;
    readonly torch: string | undefined;
    /** GFLOP/s on one thread. */
    readonly rates: { readonly favorProducts: number; readonly simdPeak: number; readonly sgemm: number | undefined };
  };
  readonly timings: readonly Timing[];
  readonly goals: readonly Goal[];
}

/** The report as Markdown: a table per direction, milliseconds and how many times FAVOR's, the goals and the rates. */
export function markdown({ setting, machine, timings, goals }: Report): string {
  const { heads, dim, count, lengths } = setting;
  const names = [...new Set(timings.map((t) => t.name))];
  const direction = (causal: boolean): string[] => [
    "",
    row([causal ? "causal" : "bidirectional", ...lengths.map((length) => `L = ${length}`)]),
    row(["---", ...lengths.map(() => "--:")]),
    ...names.map((name) => row([name, ...lengths.map((length) => cell(timings, name, causal, length))])),
  ];
  const { favorProducts, simdPeak, sgemm } = machine.rates;
  const share = (of: number): string => `${((100 * favorProducts) / of).toFixed(0)} % of`;
  const native = sgemm === undefined ? "" : `, ${share(sgemm)} native sgemm's (${sgemm.toFixed(1)})`;
  return [
    `${heads} heads of ${dim}, M = ${count}, float32, batch 1, one thread where not said. ${machine.processor}, Node`,
    `${machine.node}, kernels: ${machine.kernels}${machine.torch ? `, PyTorch ${machine.torch}` : ""}; load before the start: ${machine.load.toFixed(1)}.`,
    "Milliseconds, the shortest of several runs; in brackets how many times FAVOR's on one thread.",
    ...[false, true].flatMap(direction),
    "",
    row(["goal", "measured", ""]),
    row(["---", "--:", "---"]),
    ...goals.map(({ statement, measured, met }) => row([statement, measured.toFixed(2), met ? "met" : "not met"])),
    "",
    `FAVOR's four products alone make ${favorProducts.toFixed(1)} GFLOP/s of its whole time at the longest length:`,
    `${share(simdPeak)} WebAssembly's SIMD peak on this machine (${simdPeak.toFixed(1)})${native}.`,
    "",
  ].join("\n");
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}

function cell(timings: readonly Timing[], name: string, causal: boolean, length: number): string {
  const time = timeOf(timings, name, causal, length);
  const ours = timeOf(timings, "favor", causal, length);
  if (time === undefined) return "-";
  return ours === undefined ? time.toFixed(1) : `${time.toFixed(1)} (${(time / ours).toFixed(2)})`;
}
