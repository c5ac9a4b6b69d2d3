import { DataType } from "@favor/onnx";
import type { NodeBuilder } from "@favor/onnx/graph";
import type { AttentionSite } from "../../attention/site.ts";
import type { SiteExactKeys } from "../../report.ts";
import { branch } from "../branch.ts";
import type { BlockSize } from "../block-scan.ts";
import { emitExact } from "../exact.ts";
import type { SiteInputs } from "../site-inputs.ts";
import { attend } from "./attend.ts";
import { asColumn, cutBlocks } from "./blocks.ts";
import { blocksWithKeys, blockScores, chooseBlocks } from "./choose.ts";
import { exactTable, firstKey, type Keys } from "./exact-table.ts";
import { blockSums, farField } from "./far-field.ts";
import { nearBlocks, notNear, piecesOf } from "./gather-pieces.ts";
import { keyMeans } from "./mean-keys.ts";
import type { ScaledFeatures } from "./scaled-features.ts";

/**
 * Attention that is exact for some keys of each query and estimated by features for all others, `hybridAttention` of
 * @favor/core: O(L) in memory, and in time but for the choice of blocks. Inputs so short that all their blocks are exact take
 * a branch of their own, exact attention by block.
 *
 * @param features undefined without far field
 * @param block the most queries per block where all keys are exact
 * @returns [batch, heads, queries, valueDim]
 */
export function emitHybrid(
  build: NodeBuilder,
  site: AttentionSite,
  inputs: SiteInputs,
  features: ScaledFeatures | undefined,
  exact: SiteExactKeys,
  block: BlockSize,
): string {
  const { keep, keyColumns } = inputs;
  const key = build.transpose(keyColumns, [0, 1, 3, 2]);
  const value =
    keep === undefined ? inputs.value : build.op("Where", [asColumn(build, keep), inputs.value, build.scalar(0)]);
  const nearest = site.kind === "self" ? 2 : 0;
  const allExact = (exact.chosenBlocks + nearest) * exact.window;
  const isLong = build.op("Greater", [build.dimension(key, 2), build.integers([allExact])]);
  const rows = branch(
    build,
    isLong,
    (inner) => emitLong(inner, site, inputs.query, { key, value, keep }, features, exact),
    (inner) => emitExact(inner, site, { ...inputs, keyColumns: inner.transpose(key, [0, 1, 3, 2]), value }, block),
    { rank: 4, dataType: DataType.FLOAT },
  );
  return site.causal && keep !== undefined ? fromFirstKey(build, rows, keep) : rows;
}

function emitLong(
  build: NodeBuilder,
  site: AttentionSite,
  query: string,
  given: Keys,
  features: ScaledFeatures | undefined,
  { window, chosenBlocks, group }: SiteExactKeys,
): string {
  const { valueDim, headDim: dim, logitScale, kind, causal } = site;
  const hasNear = kind === "self";
  const queries = cutBlocks(build, build.dimension(query, 2), window);
  const keys = hasNear ? queries : cutBlocks(build, build.dimension(given.key, 2), window);
  const table = exactTable(build, given, keys, hasNear);

  let isFar = blocksWithKeys(build, table.inBlocks, keys);
  if (hasNear) isFar = build.op("And", [isFar, notNear(build, keys, causal)]);
  let blocks = hasNear ? nearBlocks(build, keys, causal) : undefined;
  if (chosenBlocks > 0) {
    const choosers = { query, logitScale, keep: hasNear ? given.keep : undefined, dim, queries, keys, causal, group };
    const scores = blockScores(build, choosers, keyMeans(build, given, table, keys, dim));
    const choice = chooseBlocks(build, scores, isFar, chosenBlocks);
    blocks = blocks === undefined ? choice.blocks : beside(build, blocks, choice.blocks);
    isFar = choice.left;
  }
  const far =
    features &&
    farField(build, features, blockSums(build, features, given.value, table.inBlocks, keys), isFar, queries);
  const near = hasNear ? (causal ? 2 : 3) : 0;
  const pieces = piecesOf(build, blocks!, table, keys);
  return attend(build, {
    query,
    logitScale,
    table,
    pieces,
    exactBlocks: near + chosenBlocks,
    far,
    queries,
    dim,
    valueDim,
    causal,
  });
}

/** Near blocks [1, 1, query blocks, near] before chosen ones [batch, heads, query blocks, chosen]. */
function beside(build: NodeBuilder, near: string, chosen: string): string {
  const outer = build.slice(build.op("Shape", [chosen]), 0, 0, 2);
  const shape = build.concat([outer, build.slice(build.op("Shape", [near]), 0, 2, 4)], 0);
  return build.concat([build.op("Expand", [near, shape]), chosen], 3);
}

/** 0 for the rows before the first key that counts, which see none. */
function fromFirstKey(build: NodeBuilder, rows: string, keep: string): string {
  const positions = build.unsqueeze(build.range(build.dimension(rows, 2)), [0, 1, 3]);
  const sees = build.op("Not", [build.op("Less", [positions, asColumn(build, firstKey(build, keep) as string)])]);
  return build.op("Where", [sees, rows, build.scalar(0)]);
}
