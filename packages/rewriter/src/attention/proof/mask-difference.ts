import { reasonFor, type Reason } from "../../refusals/reason.ts";
import { describeBand } from "../band.ts";
import type { MaskVerdict } from "../site.ts";
import type { Draw } from "./input-draws.ts";

/** Where a row of probabilities differs from what was found on short inputs. */
export interface DifferingRow {
  readonly keys: number;
  readonly query: number;
  readonly batch: number;
  readonly draw: Draw;
  /** Position of the key of an entry of the row. */
  readonly keyAt: (entry: number) => number;
}

/** Below this share of what it should have, a key is hidden. */
const hiddenShare = 1e-6;

const inputsOf: Readonly<Record<Draw, string>> = {
  0: "without padding",
  1: "with padding",
  2: "whose numbers are any that the model takes",
};

/** In words, how a row differs from the softmax that would take its place. */
export function describeDifference(
  mask: MaskVerdict,
  { keys, query, batch, draw, keyAt }: DifferingRow,
  expected: Float64Array,
  found: Float64Array,
): Reason {
  const wanted = [...expected.keys()].filter((k) => expected[k]! > 0);
  const seen = wanted.filter((k) => !(found[k]! < hiddenShare * expected[k]!));
  const [first = 0, last = 0] = [seen[0], seen.at(-1)];
  const isStretch = seen.length > 0 && wanted.filter((k) => k >= first && k <= last).length === seen.length;
  const hidesSome = seen.length < wanted.length;
  const start = `On short inputs ${shortly(mask)}, but with ${keys} keys, a batch of ${batch} and inputs ${inputsOf[draw]}`;
  const holdsQuery = keyAt(first) <= query && (query <= keyAt(last) || last === wanted.at(-1));
  if (draw === 0 && hidesSome && isStretch && holdsQuery) {
    const what = `query ${query} attends only to keys from ${keyAt(first)} to ${keyAt(last)} (a window or a block)`;
    return reasonFor("sliding-window", `${start} ${what}.`);
  }
  const hidden = hidesSome
    ? `hides ${wanted.length - seen.length} keys that should count`
    : "weighs its keys otherwise";
  return reasonFor("mask-changes", `${start} query ${query} ${hidden}.`);
}

function shortly({ kind, band }: MaskVerdict): string {
  if (band !== undefined) return describeBand(band);
  if (kind === "none") return "every query attends to every key";
  return kind === "causal" ? "each query attends to the keys up to its own" : `the mask is ${kind}`;
}
