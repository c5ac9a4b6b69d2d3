import type { PassCost } from "@favor/report";
import { grouped, short } from "@favor/measure/numbers";

/** What is known of one way to run a model. */
export interface Measured {
  readonly name: string;
  readonly isLossless: boolean;
  /** What is lost at the longest length, in points; see `lossAtLongest`. Absent if it was not measured. */
  readonly loss?: number;
  /** At each length; absent where it was not measured. */
  readonly costs: readonly (PassCost | undefined)[];
}

/** What to weigh by. */
export interface Weights {
  /** In tokens, ascending. */
  readonly lengths: readonly number[];
  /** The largest loss in points. */
  readonly budget: number;
  /** Whether the data reach far enough to know the quality at the longest length. */
  readonly isKnown: boolean;
}

/** The row that is recommended, and why. */
export interface Recommendation<Row> {
  readonly row: Row;
  readonly reason: string;
}

/** A time within this share of the shortest is as good. */
const asFast = 1.1;

/** Memory has to be smaller by this factor to be a reason of its own. */
const muchLess = 0.67;

/** How advice weighs, for people. */
export function describeWeights({ lengths, budget }: Weights): string {
  return (
    `Recommended is the fastest at ${grouped(lengths.at(-1)!)} tokens that loses at most ${short(budget)} points there; of ` +
    `those within 10 % of its time, the model as it is, unless another needs two thirds of its memory or less; then the one ` +
    "that loses least."
  );
}

/**
 * Recommends one of the rows; {@link describeWeights} says by which rule.
 *
 * @param rows - the original first.
 * @returns undefined if none was timed at the longest length.
 */
export function recommend<Row extends Measured>(
  rows: readonly Row[],
  weights: Weights,
): Recommendation<Row> | undefined {
  const { budget, isKnown } = weights;
  const timed = rows.flatMap((row) => {
    const cost = row.costs.at(-1);
    return cost === undefined ? [] : [{ row, ...cost }];
  });
  const good = timed.filter(({ row }) => row.isLossless || (isKnown && row.loss !== undefined && row.loss <= budget));
  if (good.length === 0) return undefined;
  const shortest = Math.min(...good.map(({ seconds }) => seconds));
  const fast = good.filter(({ seconds }) => seconds <= asFast * shortest);
  const original = timed.find(({ row }) => row === rows[0]);
  const leanest = Math.min(...fast.map(({ peakBytes }) => peakBytes));
  if (original !== undefined && fast.includes(original) && leanest > muchLess * original.peakBytes) {
    return { row: original.row, reason: `${reasonToStay(weights)}${faster(timed, original, weights)}` };
  }
  const others = fast.filter((each) => each !== original);
  const lossOf = ({ row }: (typeof timed)[number]): number => (row.isLossless ? 0 : row.loss!);
  const [best] = others.toSorted((a, b) => lossOf(a) - lossOf(b) || a.seconds - b.seconds);
  return { row: best!.row, reason: `${reasonFor(best!, original, weights)}${faster(timed, best!, weights)}` };
}

type Timed = PassCost & { readonly row: Measured };

function reasonToStay({ lengths }: Weights): string {
  return `Leave the model as it is: nothing that is good enough is more than 10 % faster at ${grouped(lengths.at(-1)!)} tokens, or takes much less memory.`;
}

function reasonFor({ row, seconds, peakBytes }: Timed, original: Timed | undefined, { lengths }: Weights): string {
  const at = `At ${grouped(lengths.at(-1)!)} tokens`;
  const lost = row.isLossless ? "and loses nothing" : `and loses ${short(Number(row.loss!.toFixed(2)))} points`;
  if (original === undefined) {
    return `Use "${row.name}": ${at.toLowerCase()}, the model as it is does not fit into this machine's memory; this takes ${megabytes(peakBytes)} ${lost}.`;
  }
  const times = seconds / original.seconds;
  return (
    `Use "${row.name}": ${at.toLowerCase()} it takes ${short(Number(times.toPrecision(2)))} of the time and ` +
    `${short(Number((peakBytes / original.peakBytes).toPrecision(2)))} of the memory of the model as it is, ${lost}.`
  );
}

const megabytes = (bytes: number): string => `${grouped(Math.round(bytes / 1e6))} MB`;

/** What would be faster, if its quality were known. */
function faster(timed: readonly Timed[], chosen: Timed, { isKnown, budget }: Weights): string {
  const unknown = timed
    .filter(({ row }) => !row.isLossless && (row.loss === undefined || (!isKnown && row.loss <= budget)))
    .toSorted((a, b) => a.seconds - b.seconds);
  const [first] = unknown;
  if (first === undefined || first.seconds * asFast >= chosen.seconds) return "";
  return (
    ` "${first.row.name}" would take ${short(Number((first.seconds / chosen.seconds).toPrecision(2)))} of its time, but its ` +
    "quality at this length is not known: pass data as long as what you will use the model for with --data."
  );
}
