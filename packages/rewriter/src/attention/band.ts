/**
 * The keys that each query attends to in a window: those from `before` positions before its own to `after` behind it.
 * In many models the first tokens stand outside of this rule.
 */
export interface Band {
  readonly before: number;
  /** 0: causal. */
  readonly after: number;
  /** This many keys at the beginning are seen by every query; if `after` is 0, by those that stand behind them. */
  readonly firstKeys: number;
  /** This many queries at the beginning see every key. 0 if `after` is 0. */
  readonly firstQueries: number;
}

/** Whether a query attends to a key, by their positions. */
export function isWithin({ before, after, firstKeys, firstQueries }: Band, query: number, key: number): boolean {
  if (query < firstQueries || (key >= query - before && key <= query + after)) return true;
  return key < firstKeys && (after > 0 || key <= query);
}

/** Positions from the first to the last that a query may see, its own included. */
export function widthOf({ before, after, firstKeys, firstQueries }: Band): number {
  return before + after + 1 + Math.max(firstKeys, firstQueries);
}

/** In words: "each query attends to 64 keys before it and 64 after it". */
export function describeBand({ before, after, firstKeys, firstQueries }: Band): string {
  const near =
    after === 0
      ? `each query attends to itself and the ${before} keys before it`
      : `each query attends to itself, ${before} keys before it and ${after} after it`;
  const keys = firstKeys === 0 ? "" : `, and to the first ${firstKeys === 1 ? "key" : `${firstKeys} keys`}`;
  const queries =
    firstQueries === 0
      ? ""
      : `; the first ${firstQueries === 1 ? "query attends" : `${firstQueries} queries attend`} to every key`;
  return `${near}${keys}${queries} (a window)`;
}
