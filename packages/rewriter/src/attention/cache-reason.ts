import type { Reason } from "./site.ts";

/** @param what the input or operator that has the cache, as a message names it */
export function cacheReason(what: string): Reason {
  return {
    code: "kv-cache",
    message:
      `${what} brings keys and values of earlier steps from a cache, whose size grows with each token; linear attention ` +
      "keeps a state of constant size instead. Export the model without past_key_values (for optimum: the task without -with-past).",
  };
}
