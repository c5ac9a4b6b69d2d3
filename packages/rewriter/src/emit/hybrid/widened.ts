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

/**
 * k' of keys [batch, heads, rows, dim].
 *
 * @param bias 0 or below, [batch or 1, heads or 1, rows, 1]
 */
export function widenKeys(build: NodeBuilder, key: string, bias: string): string {
  const columns = build.op("Mul", [bias, build.floats("bias_column", [1, 1, 1, widening], keyTail(1))]);
  return build.concat([key, spread(build, key, columns, 3)], 3);
}

/**
 * q' of queries [batch, heads, blocks, rows per block, dim].
 *
 * @param farLog [batch, heads, blocks, rows per block, 1]; undefined without far field
 */
export function widenQueries(build: NodeBuilder, query: string, farLog: string | undefined): string {
  const row = tail(maskedLog, 1);
  const parts = farLog === undefined ? [] : [farLog];
  const rest = row.slice(parts.length);
  const columns = build.floats("query_columns", [1, 1, 1, 1, rest.length], rest);
  return build.concat([query, ...parts, spread(build, query, columns, 4)], 4);
}

/** Repeats columns along all but the last axis of a value. */
function spread(build: NodeBuilder, value: string, columns: string, axis: number): string {
  const outer = build.slice(build.op("Shape", [value]), 0, 0, axis);
  return build.op("Expand", [columns, build.concat([outer, build.integers([1])], 0)]);
}
