import type { NodeBuilder } from "@favor/onnx/graph";
import { leastLog, leastNormaliser, maskedLog } from "../../stateful/log-range.ts";
import { applyCore } from "../causal.ts";
import { keyLogWeights, onesColumn, type LinearFeatures } from "../linear.ts";
import { inBlocks, type Blocks } from "./blocks.ts";

/** What features estimate for the keys of all blocks that are not exact for a block of queries. */
export interface FarField {
  /** Their mean value, [batch, heads, query blocks, rows per block, valueDim]. */
  readonly value: string;
  /** The log of their weight, [batch, heads, query blocks, rows per block, 1]; finite. */
  readonly log: string;
}

/** The sums over each block of keys, and the choice among them. */
export interface BlockSums {
  /** phi(K)^T diag(w) [V, 1], [batch, heads, key blocks, M, valueDim + 1], w relative to the block's largest. */
  readonly sums: string;
  /** The log of each block's largest weight, [batch, heads or 1, 1, key blocks]. */
  readonly logScale: string;
}

/**
 * The sums of each block of keys.
 *
 * @param counts booleans [batch or 1, heads or 1, 1, keys]: which keys count in their blocks; undefined: all
 */
export function blockSums(
  build: NodeBuilder,
  features: LinearFeatures,
  counts: string | undefined,
  blocks: Blocks,
): BlockSums {
  const given = keyLogWeights(build, { ...features, keep: counts });
  const logs = inBlocks(build, build.transpose(given, [0, 1, 3, 2]), blocks, maskedLog);
  const largest = build.reduceMax(logs, 3);
  const weight = build.op("Exp", [build.op("Sub", [logs, build.op("Max", [largest, build.scalar(leastLog)])])]);
  const { value, keyColumns } = features;
  const values = inBlocks(build, build.concat([value, onesColumn(build, value)], 3), blocks);
  const rows = inBlocks(build, build.transpose(keyColumns, [0, 1, 3, 2]), blocks);
  const sums = build.op("MatMul", [build.transpose(rows, [0, 1, 2, 4, 3]), build.op("Mul", [values, weight])]);
  return { sums, logScale: build.transpose(build.squeeze(largest, [4]), [0, 1, 3, 2]) };
}

/**
 * The far field of each block of queries: phi(Q) times the sum of the blocks that are far from it, relative to the largest
 * of their scales. Nothing is subtracted from a total.
 *
 * @param isFar booleans [batch or 1, heads or 1, query blocks, key blocks]
 */
export function farField(
  build: NodeBuilder,
  features: LinearFeatures,
  { sums, logScale }: BlockSums,
  isFar: string,
  queries: Blocks,
  valueDim: number,
): FarField {
  const logs = build.op("Where", [isFar, logScale, build.scalar(maskedLog)]);
  const largest = build.op("Max", [build.reduceMax(logs, 3), build.scalar(leastLog)]);
  const share = build.op("Exp", [build.op("Sub", [logs, largest])]);
  const flat = build.op("Reshape", [sums, build.integers([0, 0, 0, -1])]);
  const shape = build.op("Shape", [sums]);
  const state = build.op("Reshape", [
    build.op("MatMul", [share, flat]),
    build.concat([build.slice(shape, 0, 0, 2), queries.count, build.slice(shape, 0, 3, 5)], 0),
  ]);
  const query = inBlocks(build, applyCore(build, features), queries);
  const far = build.op("MatMul", [query, state]);
  const mass = build.op("Max", [build.slice(far, 4, valueDim, valueDim + 1), build.scalar(leastNormaliser)]);
  const rowLog = build.op("Add", [inBlocks(build, features.queryLog!, queries), build.unsqueeze(largest, [4])]);
  const log = build.op("Add", [build.op("Log", [mass]), rowLog]);
  return {
    value: build.op("Div", [build.slice(far, 4, 0, valueDim), mass]),
    log: build.op("Max", [log, build.scalar(maskedLog)]),
  };
}
