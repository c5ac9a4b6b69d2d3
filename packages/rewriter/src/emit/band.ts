import type { Band } from "../attention/band.ts";
import type { AttentionSite } from "../attention/site.ts";
import type { NodeBuilder } from "@favor/onnx/graph";
import { windowsOf, type Windows } from "./band-windows.ts";
import type { SiteInputs } from "./site-inputs.ts";

/** The value of masked logits: the lowest float32, so that a fully masked row stays finite. */
const lowest = -3.4028234663852886e38;
/** An end of Slice beyond every length. */
const toTheEnd = 2 ** 31 - 1;

/** Windows that several sites share are written once; one cache serves one conversion. */
export type WindowCache = Map<string, Windows>;

/**
 * Softmax attention within a band by blocks of queries: each block meets the keys from `before` positions in front of it
 * to `after` behind it, and no others. O(L (before + after)) in time and memory, and the same numbers as with a mask of
 * L x L. Up to the length at which that would compute no fewer logits, all queries are one block.
 *
 * Keys that all queries see are further columns of every block. Queries that see all keys are rows of their own.
 *
 * @returns [batch, heads, queries, valueDim]
 */
export function emitBand(
  build: NodeBuilder,
  { logitScale, valueDim }: AttentionSite,
  inputs: SiteInputs,
  band: Band,
  cache: WindowCache,
): string {
  const { keyColumns, value, keep } = inputs;
  const query = build.op("Mul", [inputs.query, build.scalar(logitScale)]);
  const windows = windowsFor(build, query, band, keep, cache);
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
  const rows =
    build.graph.opset >= 10
      ? build.op("Slice", [all, build.integers([0]), windows.length, build.integers([2])])
      : build.op("Gather", [all, build.range(windows.length)], { axis: { int: 2 } });
  return band.firstQueries === 0 ? rows : withFirstQueries(build, { ...inputs, query }, rows, band.firstQueries);
}

function windowsFor(
  build: NodeBuilder,
  query: string,
  band: Band,
  keep: string | undefined,
  cache: WindowCache,
): Windows {
  // A mask that sites share has as many keys as each of them.
  const key = keep === undefined ? undefined : `${JSON.stringify(band)} ${keep}`;
  const known = key === undefined ? undefined : cache.get(key);
  if (known !== undefined) return known;
  const made = windowsOf(build, build.dimension(query, 2), band, keep);
  const bias = build.op("Where", [made.visible, build.scalar(0), build.scalar(lowest)]);
  const windows = { ...made, bias };
  if (key !== undefined) cache.set(key, windows);
  return windows;
}

/** softmax(logits) values, over the last axis. */
function attended(build: NodeBuilder, logits: string, values: string, rank: number): string {
  // Before opset 13 the axes from `axis` on are flattened together; for the last axis that is the same.
  const axis = build.graph.opset >= 11 ? -1 : rank - 1;
  return build.op("MatMul", [build.op("Softmax", [logits], { axis: { int: axis } }), values]);
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
