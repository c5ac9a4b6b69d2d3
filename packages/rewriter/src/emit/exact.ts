import { DataType } from "@favor/onnx";
import type { NodeBuilder } from "@favor/onnx/graph";
import type { Alibi } from "../attention/alibi.ts";
import type { AttentionSite } from "../attention/site.ts";
import { BlockScan, type BlockSize } from "./block-scan.ts";
import type { SiteInputs } from "./site-inputs.ts";

/** The value of masked logits: the lowest float32, so that a fully masked row stays finite. */
const lowest = -3.4028234663852886e38;

/**
 * Writes softmax(scale Q K^T + mask) V again, by blocks of queries, from what was proved of the site alone. This shows
 * that the site was understood, and serves where the graph's own nodes do not compute each query by itself.
 *
 * @param most queries per block
 * @returns [batch, heads, queries, valueDim]
 */
export function emitExact(build: NodeBuilder, site: AttentionSite, inputs: SiteInputs, most: BlockSize): string {
  const length = build.dimension(inputs.query, 2);
  const scan = new BlockScan(build, length, most);
  const { inner } = scan;
  const product = inner.op("MatMul", [scan.rowsOf(inputs.query, 2), inputs.keyColumns]);
  let logits = inner.op("Mul", [product, build.scalar(site.logitScale)]);
  if (site.mask.alibi !== undefined) logits = inner.op("Add", [logits, alibiBias(scan, site.mask.alibi, inputs)]);
  if (inputs.keep !== undefined) logits = inner.op("Where", [inputs.keep, logits, build.scalar(lowest)]);
  if (site.causal) logits = inner.op("Where", [causalMask(scan, inputs), logits, build.scalar(lowest)]);
  const rows = inner.op("MatMul", [inner.softmax(logits), inputs.value]);
  return scan.finish(rows, { axis: 2, rank: 4, dataType: DataType.FLOAT });
}

/** -m |i - j|, [batch or 1, heads, queries of the block, keys]. */
function alibiBias(
  { outer, inner, index, length }: BlockScan,
  { slopes, positions }: Alibi,
  inputs: SiteInputs,
): string {
  const isCounted = positions === "kept" && inputs.keep !== undefined;
  const at = isCounted
    ? outer.op("CumSum", [outer.cast(inputs.keep!, DataType.FLOAT), outer.integer(3)])
    : outer.unsqueeze(outer.cast(outer.range(length), DataType.FLOAT), [0, 1, 2]);
  const rows = inner.op("Gather", [outer.transpose(at, [0, 1, 3, 2]), index], { axis: { int: 2 } });
  const distance = inner.op("Abs", [inner.op("Sub", [rows, at])]);
  const slope = outer.floats(
    "slopes",
    [slopes.length, 1, 1],
    Float64Array.from(slopes, (m) => -m),
  );
  return inner.op("Mul", [distance, slope]);
}

/** k <= i + keys - queries as booleans [queries of the block, keys]. */
function causalMask({ outer, inner, index, length }: BlockScan, { keyColumns }: SiteInputs): string {
  const keys = outer.dimension(keyColumns, 3);
  const last = inner.op("Add", [index, outer.op("Sub", [keys, length])]);
  // GreaterOrEqual came with opset 12.
  return inner.op("Not", [inner.op("Less", [inner.unsqueeze(last, [1]), outer.unsqueeze(outer.range(keys), [0])])]);
}
