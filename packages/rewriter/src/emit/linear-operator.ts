import { applyCore } from "./causal.ts";
import { keyLogWeights, normalised, onesColumn, type LinearFeatures } from "./linear.ts";
import { leastLog } from "../stateful/log-range.ts";
import type { NodeBuilder } from "@favor/onnx/graph";
import type { CarriedState } from "../stateful/state.ts";

/** The operator to use: onnxruntime's own, or the standard one of opset 27. */
export type LinearOperatorTarget = "onnxruntime" | "onnx27";

/** exp of more than this leaves float32 when a few thousand keys add up. */
const largestExponent = 75;

/**
 * Causal attention as one LinearAttention operator: state_t = state_(t-1) + phi(k_t) [v_t 1]^T, out_t = phi(q_t) state_t.
 * The operator has no running rescale, so weights are relative to the first key's, which every query sees, and are
 * held below exp(75); {@link emitCausal} has no such bound.
 *
 * @param past the state before the first key; undefined to begin with none
 * @returns [batch, heads, queries, valueDim], and the state after the last key
 */
export function emitLinearOperator(
  build: NodeBuilder,
  features: LinearFeatures,
  heads: number,
  valueDim: number,
  target: LinearOperatorTarget,
  past?: CarriedState,
): { output: string; state: CarriedState } {
  const logs = keyLogWeights(build, features);
  const first = build.slice(features.logWeight ?? logs, 3, 0, 1);
  const reference = past === undefined ? first : startedReference(build, past, first);
  const relative = build.op("Min", [build.op("Sub", [logs, reference]), build.scalar(largestExponent)]);
  const weighted = build.op("Mul", [features.keyColumns, build.op("Exp", [relative])]);
  const values = build.concat([features.value, onesColumn(build, features.value)], 3);
  const packed = [
    pack(build, applyCore(build, features), [0, 2, 1, 3]),
    pack(build, weighted, [0, 3, 1, 2]),
    pack(build, spread(build, values, heads), [0, 2, 1, 3]),
  ];
  const [output, sums] = build.ops(
    "LinearAttention",
    past === undefined ? packed : [...packed, past.sums],
    2,
    {
      q_num_heads: { int: heads },
      kv_num_heads: { int: heads },
      update_rule: { string: "linear" },
      // The default, 1 / sqrt(M), has no purpose here.
      scale: { float: 1 },
    },
    target === "onnxruntime" ? "com.microsoft" : undefined,
  ) as [string, string];
  const split = build.op("Reshape", [output, build.integers([0, 0, heads, valueDim + 1])]);
  const rows = build.transpose(split, [0, 2, 1, 3]);
  return { output: normalised(build, rows, valueDim, features.positive), state: { sums, logScale: reference } };
}

/** The log weight that a state's sums are relative to, or the first key's if the state is still empty. */
function startedReference(build: NodeBuilder, past: CarriedState, first: string): string {
  const isEmpty = build.op("Less", [past.logScale, build.scalar(leastLog)]);
  return build.op("Where", [isEmpty, first, past.logScale]);
}

/** [batch, heads, ...] to [batch, length, heads x width]. */
function pack(build: NodeBuilder, value: string, perm: readonly number[]): string {
  return build.op("Reshape", [build.transpose(value, perm), build.integers([0, 0, -1])]);
}

/** Repeats values that heads share for each head. */
function spread(build: NodeBuilder, values: string, heads: number): string {
  return build.op("Expand", [values, build.integers([1, heads, 1, 1])]);
}
