import { requireArray, requireObject } from "../checks.ts";
import { causalLinearAttention } from "./causal.ts";
import type { CausalState } from "./causal-state.ts";
import { ArgumentError } from "../errors.ts";
import { requireOptions } from "../options.ts";
import type { OptionNames } from "../options.ts";

/** One token of every head: the features of its query and key, and its value. */
export interface StreamingToken {
  /** phi(q), `[heads, count]`. */
  readonly query: Float64Array;
  /** phi(k), `[keyHeads, count]`. */
  readonly key: Float64Array;
  /** `[keyHeads, valueDim]`. */
  readonly value: Float64Array;
  /** `[keyHeads]`: the true key features are `exp(keyLogScale) * key`. Default 0. */
  readonly keyLogScale?: Float64Array;
  /** Multiplies phi(k); 0 hides this token from itself and from all later ones. Default 1. */
  readonly keep?: number;
}

const names: OptionNames<StreamingToken> = { query: true, key: true, value: true, keyLogScale: true, keep: true };

/**
 * Attention of the next token to itself and all tokens before it. Takes O(M d) time and no memory beyond the state,
 * which it updates in place. You can read in a prompt with {@link causalLinearAttention} (`options.state`) and continue
 * here: the outputs are those of one full pass.
 *
 * @param state From {@link startCausal}, or as an earlier call left it.
 * @returns `[heads, valueDim]`; 0 if no key has been seen.
 * @throws ArgumentError if the token does not fit the state.
 */
export function stepCausal(state: CausalState, token: StreamingToken): Float64Array {
  requireObject("state", state, "what startCausal gives");
  requireOptions("token", token, names, "{ query, key, value }");
  requireArray("token.query", token.query, "a Float64Array [heads, count]");
  const heads = token.query.length / state.count;
  if (!Number.isInteger(heads)) {
    throw new ArgumentError("query", `[heads, count] with count ${state.count}`, `${token.query.length} numbers`);
  }
  const { query, key, value, keyLogScale, keep } = token;
  return causalLinearAttention(
    { query, key, value, ...(keyLogScale && { keyLogScale }), ...(keep !== undefined && { keyMask: [keep] }) },
    { heads, keyHeads: state.keyHeads, queryRows: 1, keyRows: 1, count: state.count, valueDim: state.valueDim },
    { state, chunk: 1 },
  );
}
