import { requireSize } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { requireOptions } from "../options.ts";

/**
 * What causal linear attention remembers of the past, per key head; its size does not depend on the length. It holds
 * the prefix sums S = sum_j phi(k_j) v_j^T and z = sum_j phi(k_j), joined and divided by `exp(logScale)`. It is plain
 * data: you can clone it, post it to a worker, store it, and continue from it.
 */
export interface CausalState {
  readonly keyHeads: number;
  readonly count: number;
  readonly valueDim: number;
  /** `[keyHeads, count, valueDim + 1]`: S, with z as its last column. */
  readonly sums: Float64Array;
  /** `[keyHeads]`: the running maximum of the log weights of the keys seen; -Infinity before the first. */
  readonly logScale: Float64Array;
}

/**
 * The state before the first token.
 *
 * @throws ArgumentError if a size is not a whole number of at least 1.
 */
export function startCausal(shape: {
  readonly keyHeads: number;
  readonly count: number;
  readonly valueDim: number;
}): CausalState {
  const names = { keyHeads: true, count: true, valueDim: true } as const;
  requireOptions("shape", shape, names, "{ keyHeads: 8, count: 256, valueDim: 64 }");
  const { keyHeads, count, valueDim } = shape;
  for (const [name, size] of Object.entries({ keyHeads, count, valueDim })) requireSize(`shape.${name}`, size, 1);
  return {
    keyHeads,
    count,
    valueDim,
    sums: new Float64Array(keyHeads * count * (valueDim + 1)),
    logScale: new Float64Array(keyHeads).fill(-Infinity),
  };
}

/** @throws ArgumentError if a state has other sizes. */
export function checkState(
  state: CausalState,
  { keyHeads, count, valueDim }: Pick<CausalState, "keyHeads" | "count" | "valueDim">,
): void {
  const expected = `[keyHeads ${keyHeads}, count ${count}, valueDim ${valueDim}]`;
  if (state.keyHeads !== keyHeads || state.count !== count || state.valueDim !== valueDim) {
    const found = `[keyHeads ${state.keyHeads}, count ${state.count}, valueDim ${state.valueDim}]`;
    throw new ArgumentError("options.state", `a state of ${expected}`, found);
  }
}

/** exp(from - to) for two log scales; 0 if `from` is -Infinity, which means "nothing yet". */
export function rescale(from: number, to: number): number {
  return from === -Infinity ? 0 : Math.exp(from - to);
}
