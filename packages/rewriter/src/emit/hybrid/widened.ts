import type { NodeBuilder } from "@favor/onnx/graph";
import { maskedLog } from "../../stateful/log-range.ts";

/**
 * Columns that widen each head, so that one product gives logits with their masks: q'.k' is
 *
 *     q.k + bias of the key                for a key
 *     the logit of the far field           for the far field, whose k is 0
 *
 * There are 8 of them, because rows of multiples of 8 are aligned for vectors.
 */
export const widening = 8;
/** Of the queries: the far field's logit, and 1. */
const [farColumn, biasColumn] = [0, 1];

/** What widens the key of the far field, and a key that counts with `bias`. */
export const farTail: readonly number[] = tail(1, 0);
export const keyTail = (bias: number): readonly number[] => tail(0, bias);

function tail(far: number, bias: number): number[] {
  const row = Array.from({ length: widening }, () => 0);
  row[farColumn] = far;
  row[biasColumn] = bias;
  return row;
}

/** What widens keys with a bias of 0 or below, [..., 1]: [..., 8]. */
export function biasColumns(build: NodeBuilder, bias: string): string {
  return build.op("Mul", [bias, build.floats("bias_column", [1, 1, 1, widening], keyTail(1))]);
}

/**
 * k' of keys [batch, heads, rows, dim].
 *
 * @param bias 0 or below, [batch or 1, heads or 1, rows, 1]
 */
export function widenKeys(build: NodeBuilder, key: string, bias: string): string {
  return build.concat([key, spread(build, key, biasColumns(build, bias), 3)], 3);
}

/**
 * What widens queries [batch, heads, blocks, rows per block, dim].
 *
 * @param farLog [batch, heads, blocks, rows per block, 1]; undefined without far field
 * @returns [batch, heads, blocks, rows per block, 8], or without far field [8]
 */
export function queryTails(build: NodeBuilder, farLog: string | undefined): string {
  const row = tail(maskedLog, 1);
  if (farLog === undefined) return build.floats("query_tail", [widening], row);
  const rest = row.slice(1);
  const columns = build.floats("query_columns", [1, 1, 1, 1, rest.length], rest);
  return build.concat([farLog, spread(build, farLog, columns, 4)], 4);
}

/** q' of queries [batch, heads, blocks, rows per block, dim]. */
export function widenQueries(build: NodeBuilder, query: string): string {
  return build.concat([query, spread(build, query, queryTails(build, undefined), 4)], 4);
}

/** Repeats columns along all but the last axis of a value. */
function spread(build: NodeBuilder, value: string, columns: string, axis: number): string {
  const outer = build.slice(build.op("Shape", [value]), 0, 0, axis);
  return build.op("Expand", [columns, build.concat([outer, build.integers([1])], 0)]);
}
