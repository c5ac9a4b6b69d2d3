import type { NodeBuilder } from "@favor/onnx/graph";
import { leastLog, leastNormaliser, maskedLog } from "../../stateful/log-range.ts";
import { asColumn, inBlocks, type Blocks } from "./blocks.ts";
import type { ScaledFeatures } from "./scaled-features.ts";

/** What features estimate for the keys of all blocks that are not exact for a block of queries. */
export interface FarField {
  /** M */
  readonly count: number;
  /** phi(Q), [batch, heads, queries, M]. */
  readonly query: string;
  /** phi(K)^T V of the far keys of each block of queries, [batch, heads, query blocks, M, valueDim]. */
  readonly state: string;
  /** phi(Q) phi(K)^T 1, [batch, heads, query blocks, rows per block, 1], on the scale of the state. */
  readonly mass: string;
  /** The log of the weight, [batch, heads, query blocks, rows per block, 1]; finite. */
  readonly log: string;
}

/** The sums over each block of keys. */
export interface BlockSums {
  /** phi(K)^T diag(w) V, [batch, heads, key blocks, M, valueDim], w relative to the block's largest. */
  readonly sums: string;
  /** phi(K)^T w, [batch, heads, key blocks, M]. */
  readonly masses: string;
  /** The log of each block's largest weight, [batch, heads, 1, key blocks]. */
  readonly logScale: string;
}

/**
 * The sums of each block of keys.
 *
 * @param value [batch, heads or 1, keys, valueDim]
 * @param counts booleans [batch or 1, heads or 1, 1, keys]: which keys count in their blocks; undefined: all
 */
export function blockSums(
  build: NodeBuilder,
  { key, keyLog }: ScaledFeatures,
  value: string,
  counts: string | undefined,
  blocks: Blocks,
): BlockSums {
  const shown =
    counts === undefined ? keyLog : build.op("Where", [asColumn(build, counts), keyLog, build.scalar(maskedLog)]);
  const logs = inBlocks(build, shown, blocks, maskedLog);
  const largest = build.reduceMax(logs, 3);
  const weight = build.op("Exp", [build.op("Sub", [logs, build.op("Max", [largest, build.scalar(leastLog)])])]);
  const weighted = build.op("Mul", [inBlocks(build, key, blocks), weight]);
  return {
    sums: build.op("MatMul", [build.transpose(weighted, [0, 1, 2, 4, 3]), inBlocks(build, value, blocks)]),
    masses: build.squeeze(build.reduceSum(weighted, 3), [3]),
    logScale: build.transpose(build.squeeze(largest, [4]), [0, 1, 3, 2]),
  };
}

/**
 * The far field of each block of queries: phi(Q) and the sum of the blocks that are far from it, relative to the largest of
 * their scales. Nothing is subtracted from a total.
 *
 * @param isFar booleans [batch or 1, heads or 1, query blocks, key blocks]
 */
export function farField(
  build: NodeBuilder,
  features: ScaledFeatures,
  { sums, masses, logScale }: BlockSums,
  isFar: string,
  queries: Blocks,
): FarField {
  const logs = build.op("Where", [isFar, logScale, build.scalar(maskedLog)]);
  const largest = build.op("Max", [build.reduceMax(logs, 3), build.scalar(leastLog)]);
  const share = build.op("Exp", [build.op("Sub", [logs, largest])]);
  const shape = build.op("Shape", [sums]);
  const flat = build.op("Reshape", [sums, build.integers([0, 0, 0, -1])]);
  const state = build.op("Reshape", [
    build.op("MatMul", [share, flat]),
    build.concat([build.slice(shape, 0, 0, 2), queries.count, build.slice(shape, 0, 3, 5)], 0),
  ]);
  const query = inBlocks(build, features.query, queries);
  const total = build.op("MatMul", [query, build.unsqueeze(build.op("MatMul", [share, masses]), [4])]);
  const mass = build.op("Max", [total, build.scalar(leastNormaliser)]);
  const rowLog = build.op("Add", [inBlocks(build, features.queryLog, queries), build.unsqueeze(largest, [4])]);
  const log = build.op("Add", [build.op("Log", [mass]), rowLog]);
  return {
    count: features.count,
    query: features.query,
    state,
    mass,
    log: build.op("Max", [log, build.scalar(maskedLog)]),
  };
}
