import { passes } from "./tfjs-case.ts";
import type { Cell, Kind, Pass } from "./tfjs-case.ts";

/** A goal of the project, held against what was measured. */
export interface TfjsGoal {
  readonly statement: string;
  readonly measured: string;
  readonly met: boolean;
}

/** What `tfjs-<backend>.json` holds. */
export interface TfjsReport {
  readonly backend: string;
  readonly tfjs: string;
  readonly machine: { readonly processor: string; readonly node: string; readonly load: number };
  readonly cells: readonly Cell[];
  readonly goals: readonly TfjsGoal[];
}

function find(cells: readonly Cell[], pass: Pass, kind: Kind, length: number): Cell | undefined {
  return cells.find((cell) => cell.pass === pass && cell.kind === kind && cell.length === length);
}

/** How many times faster FAVOR is; Infinity where softmax has no memory, undefined where either was not measured. */
function ratio(cells: readonly Cell[], pass: Pass, length: number): number | undefined {
  const [exact, favor] = (["softmax", "favor"] as const).map((kind) => find(cells, pass, kind, length));
  if (!exact || favor?.milliseconds === undefined) return undefined;
  return exact.milliseconds === undefined ? Infinity : exact.milliseconds / favor.milliseconds;
}

function lengthsOf(cells: readonly Cell[]): number[] {
  return [...new Set(cells.map(({ length }) => length))].toSorted((a, b) => a - b);
}

/** The goals for the wasm backend that these cells can judge. */
export function judgeTfjs(cells: readonly Cell[]): TfjsGoal[] {
  const goals: TfjsGoal[] = [];
  const lengths = lengthsOf(cells);
  for (const pass of ["forward", "train step"] as const) {
    const ahead = lengths.find((length) => (ratio(cells, pass, length) ?? 0) >= 1);
    const statement = `${pass}: FAVOR ahead of softmax at or below L = 1024`;
    goals.push({ statement, measured: `from L = ${ahead ?? "-"}`, met: ahead !== undefined && ahead <= 1024 });
  }
  const step = ratio(cells, "train step", 2048);
  if (step !== undefined) {
    const statement = "train step at L = 2048: at least 3 times faster";
    goals.push({ statement, measured: step.toFixed(1), met: step >= 3 });
  }
  const [exact, favor] = (["softmax", "favor"] as const).map((kind) => find(cells, "train step", kind, 16384));
  if (exact && favor) {
    const statement = "train step at L = 16384: runs where softmax cannot allocate";
    const measured = `${shownTime(exact)}, FAVOR ${shownTime(favor)} ms`;
    goals.push({ statement, measured, met: exact.milliseconds === undefined && favor.milliseconds !== undefined });
  }
  return goals;
}

/** A table per pass, milliseconds and peak megabytes of both, and the goals. */
export function tfjsMarkdown({ backend, tfjs, machine, cells, goals }: TfjsReport): string {
  const { heads, dim, count } = cells[0]!;
  const lengths = lengthsOf(cells);
  const table = (pass: Pass): string[] => [
    "",
    row([pass, "softmax, ms", "FAVOR, ms", "times faster", "softmax, peak MB", "FAVOR, peak MB"]),
    row(["---", "--:", "--:", "--:", "--:", "--:"]),
    ...lengths.map((length) => {
      const [exact, favor] = (["softmax", "favor"] as const).map((kind) => find(cells, pass, kind, length));
      const faster = ratio(cells, pass, length);
      const times = faster === undefined || faster === Infinity ? "-" : faster.toFixed(2);
      return row([`L = ${length}`, shownTime(exact), shownTime(favor), times, shownPeak(exact), shownPeak(favor)]);
    }),
  ];
  return [
    `TensorFlow.js ${tfjs}, ${backend}, repaired; ${heads} heads of ${dim}, M = ${count}, float32, batch 1.`,
    `${machine.processor}, Node ${machine.node}; load before the start: ${machine.load.toFixed(1)}.`,
    `Milliseconds ${backend === "webgpu" ? "elapsed" : "of processor time"}, the shortest of several runs. Peak: the most that tfjs counts at once beyond inputs and weights.`,
    "A train step is Adam on one encoder layer.",
    ...passes.filter((pass) => cells.some((cell) => cell.pass === pass)).flatMap(table),
    ...(goals.length === 0 ? [] : ["", row(["goal", "measured", ""]), row(["---", "---", "---"])]),
    ...goals.map(({ statement, measured, met }) => row([statement, measured, met ? "met" : "not met"])),
    "",
  ].join("\n");
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}

function shownTime(cell: Cell | undefined): string {
  if (!cell) return "-";
  return cell.milliseconds === undefined ? "no memory" : cell.milliseconds.toFixed(1);
}

function shownPeak(cell: Cell | undefined): string {
  return cell?.peakBytes === undefined ? "-" : (cell.peakBytes / 1e6).toFixed(1);
}
