import { DataType } from "@favor/onnx";
import { leastNormaliser, maskedLog } from "../stateful/log-range.ts";
import type { Alibi } from "../attention/alibi.ts";
import type { NodeBuilder } from "@favor/onnx/graph";

/** Features of a site, ready for the linear product. */
export interface LinearFeatures {
  /** M, the width of phi. */
  readonly count: number;
  /** phi(Q), [batch, heads, queries, M]; its scale per query cancels. */
  readonly query: string;
  /** phi(K)^T, [batch, heads, M, keys]. */
  readonly keyColumns: string;
  /** log of a weight per key, [batch, heads or 1, 1, keys], or undefined for weights of 1. */
  readonly logWeight: string | undefined;
  /** [batch, heads or 1, keys, valueDim] */
  readonly value: string;
  /** Booleans [batch, heads or 1, 1, keys], or undefined. */
  readonly keep: string | undefined;
  /** Applied to the state from the left: [heads, M, 1] as a factor, or [heads, M, M] as a matrix. */
  readonly core?: { readonly value: string; readonly kind: "factor" | "matrix" };
  /** Lets keys fade with their distance from the query: {@link emitLinear} does not know of it. */
  readonly alibi?: Alibi;
  /** Whether features are positive and of order 1 at the heaviest key: then a normaliser near 0 means no key at all. */
  readonly positive: boolean;
}

/**
 * Bidirectional linear attention, O(L M d) (2009.14794, eq. 3 and 4): out = phi(Q) S / (phi(Q) z) with the state
 * S = phi(K)^T diag(w) V and z = phi(K)^T w. The weights w_k = exp(logWeight_k - max) keep [k] go onto the values and a
 * column of ones, [keys, valueDim + 1], not onto the M features of each key: this weights numerator and denominator.
 *
 * @returns [batch, heads, queries, valueDim]
 */
export function emitLinear(build: NodeBuilder, features: LinearFeatures, valueDim: number): string {
  const weight = keyWeights(build, features);
  const weighted = weight === undefined ? features.value : build.op("Mul", [features.value, weight]);
  const ones = weight ?? onesColumn(build, features.value);
  let state = build.op("MatMul", [features.keyColumns, build.concat(sameHeads(build, weighted, ones, features), 3)]);
  if (features.core?.kind === "factor") state = build.op("Mul", [state, features.core.value]);
  if (features.core?.kind === "matrix") state = build.op("MatMul", [features.core.value, state]);
  return normalised(build, build.op("MatMul", [features.query, state]), valueDim, features.positive);
}

/** The first valueDim columns over the last one; 0 where a query attends to nothing. */
export function normalised(build: NodeBuilder, sums: string, valueDim: number, positive: boolean): string {
  const numerator = build.slice(sums, 3, 0, valueDim);
  const normaliser = build.slice(sums, 3, valueDim, valueDim + 1);
  const safe = positive
    ? build.op("Max", [normaliser, build.scalar(leastNormaliser)])
    : build.op("Where", [build.cast(normaliser, DataType.BOOL), normaliser, build.scalar(1)]);
  return build.op("Div", [numerator, safe]);
}

/** [batch, heads or 1, keys, 1]: at most 1, 1 at the heaviest key of a head, 0 where masked. */
function keyWeights(build: NodeBuilder, { logWeight, keep }: LinearFeatures): string | undefined {
  if (logWeight === undefined) {
    return keep === undefined ? undefined : build.transpose(build.cast(keep, DataType.FLOAT), [0, 1, 3, 2]);
  }
  const visible = keep === undefined ? logWeight : build.op("Where", [keep, logWeight, build.scalar(maskedLog)]);
  const relative = build.op("Exp", [build.op("Sub", [visible, build.reduceMax(visible, 3)])]);
  const weight = keep === undefined ? relative : build.op("Where", [keep, relative, build.scalar(0)]);
  return build.transpose(weight, [0, 1, 3, 2]);
}

/** log weights, far lower for masked keys, [batch, heads or 1, 1, keys]; zeros without weights and masks. */
export function keyLogWeights(build: NodeBuilder, { logWeight, keep, value }: LinearFeatures): string {
  const zeros = (): string => {
    const column = build.op("Shape", [build.transpose(build.slice(value, 3, 0, 1), [0, 1, 3, 2])]);
    return build.op("Expand", [build.scalar(0), column]);
  };
  const logs = logWeight ?? zeros();
  return keep === undefined ? logs : build.op("Where", [keep, logs, build.scalar(maskedLog)]);
}

/** A column of ones next to the values, [batch, heads, keys, 1]: it sums up to the normaliser. */
export function onesColumn(build: NodeBuilder, value: string): string {
  return build.op("Expand", [build.scalar(1), build.op("Shape", [build.slice(value, 3, 0, 1)])]);
}

/** Repeats a weight that all heads share for the values' heads, because Concat does not broadcast. */
function sameHeads(build: NodeBuilder, weighted: string, ones: string, features: LinearFeatures): string[] {
  if (features.logWeight !== undefined) return [weighted, ones];
  if (features.keep === undefined) return [weighted, ones];
  const column = build.slice(weighted, 3, 0, 1);
  return [weighted, build.op("Expand", [ones, build.op("Shape", [column])])];
}
