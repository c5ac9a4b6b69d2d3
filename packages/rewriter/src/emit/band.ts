import type { Band } from "../attention/band.ts";
import type { AttentionSite } from "../attention/site.ts";
import type { NodeBuilder } from "@favor/onnx/graph";
import { attended, lowest } from "./attended.ts";
import { emitBandScan } from "./band-scan.ts";
import { longestBlock, windowsOf, type Windows } from "./band-windows.ts";
import type { SiteInputs } from "./site-inputs.ts";

/** An end of Slice beyond every length. */
const toTheEnd = 2 ** 31 - 1;

/** Windows that several sites share are written once; one cache serves one conversion. */
export type WindowCache = Map<string, Windows>;

/**
 * Positions on both sides, together, up to which all blocks are computed at once: at 128 that takes three quarters of the
 * time of a Scan, at 1,024 it takes more, and seven times its memory.
 */
const narrow = 256;

/**
 * Softmax attention within a band by blocks of queries: each block meets the keys from `before` positions in front of it
 * to `after` behind it, and no others. O(L (before + after)) in time, and the same numbers as with a mask of L x L.
 *
 * Blocks of a narrow band are computed at once, those of a wide one by a Scan. Keys that all queries see are further
 * columns of every block. Queries that see all keys are rows of their own.
 *
 * @param block the most queries per block
 * @returns [batch, heads, queries, valueDim]
 */
export function emitBand(
  build: NodeBuilder,
  site: AttentionSite,
  inputs: SiteInputs,
  band: Band,
  block: number,
  cache: WindowCache,
): string {
  const scaled = { ...inputs, query: build.op("Mul", [inputs.query, build.scalar(site.logitScale)]) };
  const rows =
    band.before + band.after > narrow
      ? emitBandScan(build, scaled, band, block)
      : blocksAtOnce(build, scaled, band, block, site.valueDim, cache);
  return band.firstQueries === 0 ? rows : withFirstQueries(build, scaled, rows, band.firstQueries);
}

/**
 * Bytes of float32 that {@link emitBand} holds at most between its operands and its output, for one sequence.
 *
 * @param most the most queries per block
 */
export function bandBytes(
  { heads, headDim, valueDim }: AttentionSite,
  band: Band,
  most: number,
  length: number,
): number {
  const sides = band.before + band.after;
  const isNarrow = sides <= narrow;
  const block = isNarrow ? longestBlock(band, most) : most;
  const keys = Math.min(length, block + sides) + band.firstKeys;
  // Logits and weights; all blocks at once also hold the keys and values of each.
  if (!isNarrow || keys >= length) return 8 * heads * (isNarrow ? length : Math.min(length, block)) * keys;
  return 4 * heads * length * (2 * keys + (keys / block) * (headDim + valueDim));
}

/** Memory of O(L (before + after)). Up to the length at which blocks would have as many logits, all queries are one. */
function blocksAtOnce(
  build: NodeBuilder,
  { query, keyColumns, value, keep }: SiteInputs,
  band: Band,
  block: number,
  valueDim: number,
  cache: WindowCache,
): string {
  const windows = windowsFor(build, query, band, block, keep, cache);
  const at = (of: string, positions: string): string => build.op("Gather", [of, positions], { axis: { int: 2 } });
  const queries = at(query, windows.queries); // [batch, heads, blocks, block, dim]
  const keys = at(build.transpose(keyColumns, [0, 1, 3, 2]), windows.keys); // [batch, heads, blocks, width, dim]
  const values = at(value, windows.keys);
  const products = build.op("MatMul", [queries, build.transpose(keys, [0, 1, 2, 4, 3])]);
  const sums = attended(build, build.op("Add", [products, windows.bias]), values, 5);
  const shape = build.concat(
    [build.slice(build.op("Shape", [query]), 0, 0, 2), windows.rows, build.integers([valueDim])],
    0,
  );
  const all = build.op("Reshape", [sums, shape]);
  // Slice takes its bounds as inputs since opset 10.
  return build.graph.opset >= 10
    ? build.op("Slice", [all, build.integers([0]), windows.length, build.integers([2])])
    : build.op("Gather", [all, build.range(windows.length)], { axis: { int: 2 } });
}

function windowsFor(
  build: NodeBuilder,
  query: string,
  band: Band,
  block: number,
  keep: string | undefined,
  cache: WindowCache,
): Windows {
  // A mask that sites share has as many keys as each of them.
  const key = keep === undefined ? undefined : `${JSON.stringify(band)} ${keep}`;
  const known = key === undefined ? undefined : cache.get(key);
  if (known !== undefined) return known;
  const made = windowsOf(build, build.dimension(query, 2), band, block, keep);
  const bias = build.op("Where", [made.visible, build.scalar(0), build.scalar(lowest)]);
  const windows = { ...made, bias };
  if (key !== undefined) cache.set(key, windows);
  return windows;
}

/** The rows with those of the first queries replaced by attention to every key. */
function withFirstQueries(
  build: NodeBuilder,
  { query, keyColumns, value, keep }: SiteInputs,
  rows: string,
  count: number,
): string {
  const products = build.op("MatMul", [build.slice(query, 2, 0, count), keyColumns]);
  const logits = keep === undefined ? products : build.op("Where", [keep, products, build.scalar(lowest)]);
  return build.concat([attended(build, logits, value, 4), build.slice(rows, 2, count, toTheEnd)], 2);
}
