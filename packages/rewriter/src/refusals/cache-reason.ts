import { reasonFor, type Reason } from "./reason.ts";

/** @param what the input or operator that has the cache, as a message names it */
export function cacheReason(what: string): Reason {
  return reasonFor(
    "kv-cache",
    `${what} brings keys and values of earlier steps from a cache that grows with every token. Linear attention keeps a state of constant size instead.`,
  );
}
