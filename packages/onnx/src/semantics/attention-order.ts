import type { NodeCall } from "./node-call.ts";

/** The keys hidden from a query in addition to the mask. */
export interface HiddenKeys {
  /** Number of sequences with hidden keys of their own; 1 if all share them. */
  readonly batch: number;
  /** Whether position `i` of [batch, queries, keys], row-major, is hidden. */
  readonly hides: (i: number) => boolean;
}

/**
 * Attention of opsets 23 and later: causal order, windows and lengths of padded sequences (input 6).
 *
 * @param past - keys before the first query.
 * @returns undefined if every query sees every key.
 */
export function hiddenKeys(
  call: NodeCall<unknown>,
  queries: number,
  keys: number,
  past: number,
): HiddenKeys | undefined {
  const causal = call.int("is_causal", 0) !== 0;
  const left = call.int("left_window_size", -1);
  const right = call.int("right_window_size", -1);
  const lengths = call.integers(6);
  if (!causal && left < 0 && right < 0 && lengths === undefined) return undefined;
  const hides = (i: number): boolean => {
    const length = lengths?.[Math.floor(i / (queries * keys))];
    const key = i % keys;
    const ahead = key - (Math.floor(i / keys) % queries) - (length === undefined ? past : length - queries);
    return (
      (causal && ahead > 0) ||
      (left >= 0 && -ahead > left) ||
      (right >= 0 && ahead > right) ||
      (length !== undefined && key >= length)
    );
  };
  return { batch: lengths?.length ?? 1, hides };
}
