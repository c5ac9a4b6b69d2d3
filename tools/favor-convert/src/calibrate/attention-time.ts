import type { ExactKeys } from "@favor/rewriter";

/** Exact keys as they are chosen, with the selector's own number of averaged queries. */
export type BlockChoice = Required<Pick<ExactKeys, "window" | "chosenBlocks">>;

/** What an attention computes: exact keys, and M features for all others. */
export interface AttentionWork extends BlockChoice {
  readonly count: number;
}

/**
 * Time of the emitted operators beside that of fused exact attention, fitted to measurements of an attention of 8 heads of
 * 64 (docs/adr/0024-defaults-by-calibration.md). The unit is the time that fused exact attention takes for one key of one
 * query.
 */
const price = {
  /** Blocks of exact keys, however many. */
  blocks: 155,
  /** One exact key of a query, in blocks of some width. */
  exactKey: (window: number): number => 1 + 35 / window,
  /** One key, compared with means of 16 queries. */
  comparison: 0.046,
  /** A far field, however many features it has, and one feature of a query and of a key. */
  farField: 170,
  feature: 4.6,
};

/**
 * Time of an attention as a share of that of fused exact attention of one thread, from a model of its cost.
 *
 * @param length - tokens, queries and keys alike.
 */
export function timeShare(work: AttentionWork, length: number): number {
  return unitsOf(work, Math.min(length, exactKeysOf(work))) / length + comparisonShare(work);
}

/**
 * From how many tokens on several attentions together take less time than fused exact attention, by the model of cost.
 * Shorter inputs take more time, also those of which all keys are exact.
 */
export function timeBreakEven(attentions: readonly { readonly work: AttentionWork; readonly heads: number }[]): number {
  let [units, saved] = [0, 0];
  for (const { work, heads } of attentions) {
    units += heads * unitsOf(work, exactKeysOf(work));
    saved += heads * (1 - comparisonShare(work));
  }
  return Math.ceil(units / saved);
}

/** The time for a query that does not depend on the length. */
function unitsOf({ window, count }: AttentionWork, exact: number): number {
  return (
    (count === 0 ? 0 : price.farField + price.feature * count) +
    (window === 0 ? 0 : price.blocks + price.exactKey(window) * exact)
  );
}

function comparisonShare({ chosenBlocks }: AttentionWork): number {
  return chosenBlocks === 0 ? 0 : price.comparison;
}

/** How many keys are exact for a query, the first one aside. */
export function exactKeysOf({ window, chosenBlocks = 0 }: ExactKeys): number {
  return (3 + chosenBlocks) * window;
}
