import { DataType } from "@favor/onnx";
import { CheckpointError } from "../formats/errors.ts";
import type { GraphWriter } from "./graph-writer.ts";
import { rotate, tokenPositions, type Rotation } from "./positions.ts";

/** The most negative float32, which masks use instead of minus infinity. */
const lowest = -3.4028234663852886e38;

export interface AttentionSizes {
  readonly hidden: number;
  readonly heads: number;
}

/** @throws CheckpointError "bad-config" if the hidden size is not a multiple of the heads */
export function headDim({ hidden, heads }: AttentionSizes): number {
  if (hidden % heads === 0) return hidden / heads;
  throw new CheckpointError(
    "bad-config",
    `The hidden size ${hidden} is not a multiple of ${heads} heads. Both are from config.json, or transformers' ` +
      "defaults where it does not give them: restore the checkpoint's original file.",
    {
      hidden,
      heads,
    },
  );
}

/** Turns `attention_mask` [batch, sequence] of 0 and 1 into an additive mask, [batch, 1, 1, sequence]. */
export function additiveMask(graph: GraphWriter, attentionMask: string): string {
  const mask = graph.op("Cast", [attentionMask], { to: { int: DataType.FLOAT } });
  const inverted = graph.op("Sub", [graph.scalar(1), graph.op("Unsqueeze", [mask, graph.integers(1, 2)])]);
  return graph.op("Mul", [inverted, graph.scalar(lowest)]);
}

/** Like {@link additiveMask}, for tokens that see others at most `reach` away: [batch, 1, sequence, sequence]. */
export function windowMask(graph: GraphWriter, inputIds: string, attentionMask: string, reach: number): string {
  const positions = tokenPositions(graph, inputIds);
  const rows = graph.op("Unsqueeze", [positions, graph.integers(1)]);
  const distance = graph.op("Abs", [graph.op("Sub", [rows, positions])]);
  const near = graph.op("LessOrEqual", [distance, graph.integer(reach)]);
  const keys = graph.op("Cast", [attentionMask], { to: { int: DataType.BOOL } });
  const seen = graph.op("And", [near, graph.op("Unsqueeze", [keys, graph.integers(1, 2)])]);
  return graph.op("Where", [seen, graph.scalar(0), graph.scalar(lowest)]);
}

export interface Projections {
  readonly query: string;
  readonly key: string;
  readonly value: string;
}

/**
 * softmax(q k^T / sqrt(d) + mask) v per head, projections and result [batch, sequence, hidden]. With a rotation,
 * query and key are rotated first. With `scaleQuery` (ESM), the query is scaled before the rotation, not the logits.
 */
export function selfAttention(
  graph: GraphWriter,
  { query, key, value }: Projections,
  mask: string,
  sizes: AttentionSizes,
  options: { readonly rotation?: Rotation; readonly scaleQuery?: boolean } = {},
): string {
  const { rotation, scaleQuery = false } = options;
  const scale = graph.scalar(1 / Math.sqrt(headDim(sizes)));
  const byHead = (x: string, perm: number[]): string =>
    graph.op("Transpose", [graph.op("Reshape", [x, graph.integers(0, 0, sizes.heads, headDim(sizes))])], {
      perm: { ints: perm },
    });
  const turn = (x: string): string => (rotation === undefined ? x : rotate(graph, x, rotation));
  let queries = byHead(query, [0, 2, 1, 3]);
  if (scaleQuery) queries = graph.op("Mul", [queries, scale]);
  queries = turn(queries);
  const keys =
    rotation === undefined
      ? byHead(key, [0, 2, 3, 1])
      : graph.op("Transpose", [turn(byHead(key, [0, 2, 1, 3]))], { perm: { ints: [0, 1, 3, 2] } });
  let logits = graph.op("MatMul", [queries, keys]);
  if (!scaleQuery) logits = graph.op("Mul", [logits, scale]);
  const probabilities = graph.op("Softmax", [graph.op("Add", [logits, mask])], { axis: { int: -1 } });
  const attended = graph.op("MatMul", [probabilities, byHead(value, [0, 2, 1, 3])]);
  const together = graph.op("Transpose", [attended], { perm: { ints: [0, 2, 1, 3] } });
  return graph.op("Reshape", [together, graph.integers(0, 0, sizes.hidden)]);
}
