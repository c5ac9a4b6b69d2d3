import { requireInteger, requireMask, requireObject } from "../../checks.ts";
import { ArgumentError } from "../../errors.ts";
import { averagedQueries, largestBlocks } from "./selector.ts";
import type { BlockSelector } from "./selector.ts";
import { requireOptions } from "../../options.ts";
import type { OptionNames } from "../../options.ts";

/** Which keys are exact for each query; all others are estimated by features. */
export interface ExactKeysOptions {
  /**
   * The width of a block. Block b of keys are the keys b width to (b + 1) width - 1, and so for queries. 0: no key is
   * exact.
   */
  readonly window: number;
  /**
   * Whether the near field is exact: the query's own block of keys, the blocks before and after it, and the first key
   * that the mask shows. It needs as many queries as keys. Default true; false for cross-attention.
   */
  readonly near?: boolean;
  /** How many further blocks of keys are exact, chosen for each block of queries. Default 0. */
  readonly chosenBlocks?: number;
  /** What chooses them. Default `averagedQueries()`. */
  readonly selector?: BlockSelector;
  /**
   * `[queries]`; 0 leaves a query out of choosing blocks. A padded query then has no part in what its neighbours attend
   * to. Default: the key mask where there is a near field, otherwise all count.
   */
  readonly queryMask?: ArrayLike<number>;
}

/** The names of {@link ExactKeysOptions}. */
export const exactKeyNames: OptionNames<ExactKeysOptions> = {
  window: true,
  near: true,
  chosenBlocks: true,
  selector: true,
  queryMask: true,
};

/** @throws FavorError `unknown-option`, and ArgumentError if they are neither an object nor undefined. */
export function requireExactKeys(argument: string, exactKeys: ExactKeysOptions | undefined): void {
  if (exactKeys !== undefined) requireOptions(argument, exactKeys, exactKeyNames, "{ window: 32 }");
}

/** {@link ExactKeysOptions} with its defaults, and how rows are divided. */
export interface ExactKeys {
  readonly window: number;
  readonly near: boolean;
  readonly chosenBlocks: number;
  readonly selector: BlockSelector;
  readonly queryMask: ArrayLike<number> | undefined;
  readonly causal: boolean;
  readonly queryBlocks: number;
  readonly keyBlocks: number;
  /** The first key that the mask shows; -1 without near field, or if none is shown. It is in no block. */
  readonly first: number;
}

/**
 * Fills the defaults and checks them.
 *
 * @throws ArgumentError if a number is not whole or is negative, blocks are chosen without a width, a near field or
 * causal attention does not have as many keys as queries, or causal attention has blocks but no near field.
 */
export function resolveExactKeys(
  options: ExactKeysOptions,
  rows: { readonly queries: number; readonly keys: number },
  keyMask: ArrayLike<number> | undefined,
  causal: boolean,
): ExactKeys {
  requireObject("options", options, "{ window: 32, chosenBlocks: 8 }");
  const { window, chosenBlocks = 0, selector = averagedQueries() } = options;
  requireInteger("options.window", window, 0, 1 << 30);
  requireInteger("options.chosenBlocks", chosenBlocks, 0, 1 << 30);
  requireObject("options.selector", selector, "averagedQueries()");
  const near = window > 0 && (options.near ?? true);
  const { queries, keys } = rows;
  if (window === 0 && chosenBlocks > 0) {
    throw new ArgumentError("options.window", "the width of the chosen blocks, at least 1", 0);
  }
  if ((near || causal) && queries !== keys) {
    const why = causal ? "causal attention" : "a near field (near: false goes without, as cross-attention must)";
    throw new ArgumentError("key", `as many rows as queries (${queries}) for ${why}`, keys);
  }
  if (causal && window > 0 && !near) throw new ArgumentError("options.near", "true in causal attention", near);
  const queryMask = options.queryMask ?? (near ? keyMask : undefined);
  if (queryMask !== undefined) requireMask("options.queryMask", queryMask, queries);
  return {
    window,
    near,
    chosenBlocks,
    selector,
    queryMask,
    causal,
    queryBlocks: window === 0 ? 0 : Math.ceil(queries / window),
    keyBlocks: window === 0 ? 0 : Math.ceil(keys / window),
    first: near ? firstVisible(keys, keyMask) : -1,
  };
}

function firstVisible(keys: number, keyMask: ArrayLike<number> | undefined): number {
  for (let j = 0; j < keys; j++) if (keyMask?.[j] !== 0) return j;
  return -1;
}

/**
 * The near blocks of a block of queries, from..to: its own and one to each side, in causal attention none after it.
 * Without near field it is empty.
 */
export function nearBlocks({ near, causal, keyBlocks }: ExactKeys, block: number): { from: number; to: number } {
  if (!near) return { from: 0, to: 0 };
  return { from: Math.max(0, block - 1), to: Math.min(keyBlocks, causal ? block + 1 : block + 2) };
}

/**
 * Which queries choose for a block of queries, and up to which block of keys they look: the block's own queries among
 * all keys; in causal attention the queries of the block before it among the keys up to them, all of which are past when
 * the block begins. Undefined if there is nothing to choose.
 */
export function choosers(
  { causal, window, keyBlocks, chosenBlocks }: ExactKeys,
  block: number,
  queries: number,
): { readonly from: number; readonly to: number; readonly keyBlocks: number } | undefined {
  if (chosenBlocks === 0) return undefined;
  if (!causal) return { from: block * window, to: Math.min(queries, (block + 1) * window), keyBlocks };
  if (block < 2) return undefined;
  return { from: (block - 1) * window, to: block * window, keyBlocks: block };
}

/** `[keys]`: the log of the mask, with the first key hidden, since it is exact for all queries and in no block. */
export function blockLogMask(keys: number, keyMask: ArrayLike<number> | undefined, first: number): Float64Array {
  return Float64Array.from({ length: keys }, (_, j) => (j === first ? -Infinity : Math.log(keyMask?.[j] ?? 1)));
}

/**
 * The blocks that are chosen for each block of queries of one head, ascending; never near ones. There are fewer than
 * `chosenBlocks` if there are not as many with a visible key. Takes the time of the selector.
 *
 * @param query `[queries, dim]`, times d^(-1/4).
 * @param key `[keys, dim]`, times d^(-1/4).
 */
export function chooseBlocks(
  query: Float64Array,
  key: Float64Array,
  dim: number,
  exact: ExactKeys,
  logMask: Float64Array,
  selector: BlockSelector = exact.selector,
): Int32Array[] {
  const scoresOf = blockScorer(key, dim, exact, logMask, selector);
  const rows = (from: number, to: number): Float64Array => query.subarray(from * dim, to * dim);
  return Array.from({ length: exact.queryBlocks }, (_, block) =>
    chosenBlocksOf(exact, block, scoresOf(block, query.length / dim, rows)),
  );
}

/**
 * The selector's scores of all blocks of keys for a block of queries, given the number of all queries and what gives the
 * queries from..to, `[to - from, dim]`; undefined if there is nothing to choose.
 */
export type BlockScorer = (
  block: number,
  queries: number,
  rows: (from: number, to: number) => Float64Array,
) => Float64Array | undefined;

/** Like {@link chooseBlocks}, for one block of queries at a time, and before the choice: see {@link chosenBlocksOf}. */
export function blockScorer(
  key: Float64Array,
  dim: number,
  exact: ExactKeys,
  logMask: Float64Array,
  selector: BlockSelector = exact.selector,
): BlockScorer {
  const { window, queryMask, chosenBlocks } = exact;
  if (chosenBlocks === 0) return () => undefined;
  const scoresOf = selector.prepare({ dim, width: window, key, logMask });
  return (block, queries, rows) => {
    const choose = choosers(exact, block, queries);
    if (!choose) return undefined;
    const { from, to, keyBlocks } = choose;
    return scoresOf({
      query: rows(from, to),
      queryMask: queryMask && Array.from({ length: to - from }, (_, row) => queryMask[from + row]!),
      keyBlocks,
    });
  };
}

/** The blocks of the largest scores for a block of queries, ascending, without near ones. */
export function chosenBlocksOf(exact: ExactKeys, block: number, scores: Float64Array | undefined): Int32Array {
  if (scores === undefined || exact.chosenBlocks === 0) return new Int32Array(0);
  const near = nearBlocks(exact, block);
  return largestBlocks(scores, exact.chosenBlocks, (each) => each >= near.from && each < near.to);
}

/**
 * The keys that are exact for the queries of a block, as ascending ranges [from, to, from, to, ...] that neither overlap
 * nor touch; without causality, which cuts them at the query.
 */
export function exactRanges(
  exact: ExactKeys,
  chosen: Int32Array | undefined,
  block: number,
  keys: number,
): readonly number[] {
  const { window, first } = exact;
  const near = nearBlocks(exact, block);
  const blocks = [...Array.from({ length: near.to - near.from }, (_, i) => near.from + i), ...(chosen ?? [])];
  const pieces = blocks.map((each) => [each * window, Math.min(keys, (each + 1) * window)] as const);
  if (first >= 0) pieces.push([first, first + 1]);
  const ranges: number[] = [];
  for (const [from, to] of pieces.toSorted(([a], [b]) => a - b)) {
    if (from > (ranges.at(-1) ?? -1)) ranges.push(from, to);
    else ranges[ranges.length - 1] = Math.max(to, ranges.at(-1)!);
  }
  return ranges;
}
