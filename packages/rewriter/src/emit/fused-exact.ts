import { DataType } from "@favor/onnx";
import type { NodeBuilder } from "@favor/onnx/graph";
import type { AttentionSite } from "../attention/site.ts";
import type { SiteInputs } from "./site-inputs.ts";

/** Added to the logits of hidden keys: exp of it is 0 beside any visible key, and a row of hidden keys stays finite. */
const hiddenLogit = -1e30;
/** Columns that the mask adds to each head. One would do; eight keep rows aligned for the kernel's vectors. */
const maskColumns = 8;

/**
 * Whether a site can be one MultiHeadAttention that onnxruntime runs tile by tile. Its CPU kernel does so in float32 only,
 * without a mask or a bias input (ALiBi would be one), and not for causal attention. The operator does not broadcast over the batch either, as
 * learned queries would need.
 */
export function isFusable({ causal, dataType, mask, query, key, value }: AttentionSite): boolean {
  const batches = [query, key, value].map(({ roles }) => !roles.includes("batch") && !roles.includes("batch-head"));
  return !causal && mask.alibi === undefined && dataType === DataType.FLOAT && new Set(batches).size === 1;
}

/**
 * Writes softmax(scale Q K^T + mask) V as one `com.microsoft.MultiHeadAttention`. The padding mask becomes columns of the
 * heads, q' = [q, 1, 0...] and k' = [k, m, 0...] with m = 0 where a key counts and -1e30 / scale where it does not, because
 * onnxruntime's CPU kernel holds all L x L weights at once as soon as the operator has a mask. Without one it works tile
 * by tile, unless the processor does not say how large its cache is.
 *
 * @returns [batch, heads, queries, valueDim]
 */
export function emitFusedExact(build: NodeBuilder, site: AttentionSite, inputs: SiteInputs): string {
  const { heads, valueDim, logitScale } = site;
  let query = inputs.query;
  let key = build.transpose(inputs.keyColumns, [0, 1, 3, 2]);
  if (inputs.keep !== undefined) {
    const column = build.transpose(inputs.keep, [0, 1, 3, 2]); // [batch, heads or 1, keys, 1]
    const visible = build.floats("visible", [1, 1, 1, maskColumns], new Float64Array(maskColumns));
    const hidden = build.floats("hidden", [1, 1, 1, maskColumns], unit(hiddenLogit / logitScale));
    const ones = build.floats("ones", [1, 1, 1, maskColumns], unit(1));
    key = build.concat([key, rowsFor(build, key, build.op("Where", [column, visible, hidden]))], 3);
    query = build.concat([query, rowsFor(build, query, ones)], 3);
  }
  const [packed] = build.ops(
    "MultiHeadAttention",
    [query, forHeads(build, site, key), forHeads(build, site, inputs.value)].map((rows) => packRows(build, rows)),
    1,
    { num_heads: { int: heads }, scale: { float: logitScale } },
    "com.microsoft",
  );
  const split = build.op("Reshape", [packed!, build.integers([0, 0, heads, valueDim])]);
  return build.transpose(split, [0, 2, 1, 3]);
}

/** [value, 0, 0, ...] */
function unit(value: number): Float64Array {
  const columns = new Float64Array(maskColumns);
  columns[0] = value;
  return columns;
}

/** Repeats mask columns for every batch entry, head and row of `value`, because Concat does not broadcast. */
function rowsFor(build: NodeBuilder, value: string, columns: string): string {
  const outer = build.slice(build.op("Shape", [value]), 0, 0, 3);
  return build.op("Expand", [columns, build.concat([outer, build.integers([maskColumns])], 0)]);
}

/** [batch, heads, length, width] to [batch, length, heads x width]. */
function packRows(build: NodeBuilder, value: string): string {
  return build.op("Reshape", [build.transpose(value, [0, 2, 1, 3]), build.integers([0, 0, -1])]);
}

/** Repeats keys or values that all heads share for each head. */
function forHeads(build: NodeBuilder, { heads, keyValueHeads }: AttentionSite, value: string): string {
  return keyValueHeads === heads ? value : build.op("Expand", [value, build.integers([1, heads, 1, 1])]);
}
