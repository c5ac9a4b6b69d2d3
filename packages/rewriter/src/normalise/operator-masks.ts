import { describeNode, floatAttribute } from "@favor/onnx/graph";
import type { ShapeInfo } from "@favor/onnx/graph";
import { DataType, type NodeProto } from "@favor/onnx";
import { cacheReason } from "../refusals/cache-reason.ts";
import { reasonFor, type Reason } from "../refusals/reason.ts";
import type { NodeBuilder } from "@favor/onnx/graph";

/** A number this low or lower, added to the logits, hides a key. */
const mildestFill = -1e3;

/** Why an operator with a past cannot be replaced. */
export function operatorCacheReason(node: NodeProto): Reason {
  return cacheReason(describeNode(node));
}

export function outputReason(node: NodeProto, output: string): Reason {
  return reasonFor(
    "probabilities-are-output",
    `${describeNode(node)} has the logits or probabilities as an output (${output}). Linear attention never computes them.`,
  );
}

/**
 * k < length[b] as booleans [batch, 1, 1, keys].
 *
 * @param lengths [batch], integers
 * @param keyed a value whose axis `axis` has the number of keys
 */
export function lengthMask(build: NodeBuilder, lengths: string, keyed: string, axis: number): string {
  return build.unsqueeze(before(build, lengths, keyed, axis), [1, 2]);
}

/** k < bound[b] as booleans [batch, keys]. */
function before(build: NodeBuilder, bounds: string, keyed: string, axis: number): string {
  const keys = build.unsqueeze(build.range(build.dimension(keyed, axis)), [0]);
  return build.op("Less", [keys, build.unsqueeze(build.cast(bounds, DataType.INT64), [1])]);
}

/** How many positions a query sees besides its own; undefined: all. */
export interface WindowSizes {
  readonly before?: number;
  readonly after?: number;
}

/**
 * Whether a key lies within the window of a query, booleans [queries, keys]: i - before <= j <= i + after, both counted
 * from 0, for there is no past.
 *
 * @param query [batch, heads, queries, dim]
 * @param key [batch, heads, keys, dim]
 * @returns a mask for each end that there is
 */
export function windowMasks(build: NodeBuilder, query: string, key: string, window: WindowSizes): string[] {
  if (window.before === undefined && window.after === undefined) return [];
  const rows = build.unsqueeze(build.range(build.dimension(query, 2)), [1]);
  const columns = build.unsqueeze(build.range(build.dimension(key, 2)), [0]);
  const isWithin = (from: string, to: string, most: number | undefined): string[] =>
    most === undefined ? [] : [build.op("Less", [from, build.op("Add", [to, build.integers([most + 1])])])];
  return [...isWithin(rows, columns, window.before), ...isWithin(columns, rows, window.after)];
}

/**
 * onnxruntime's mask_index or key_padding_mask as booleans that broadcast to the logits: [batch, keys],
 * [batch, queries, keys] or [batch, 1, queries, keys], where 0 drops; [batch], the number of keys of each row; or
 * [2 batch], those and then the first key of each row.
 *
 * @param key [batch, keys, ...] or, with `keyAxis` 2, [batch, heads, keys, dim]
 */
export function microsoftMask(
  build: NodeBuilder,
  node: NodeProto,
  index: number,
  mask: ShapeInfo | undefined,
  key: { readonly value: string; readonly axis: number; readonly batch: number; readonly keys: number },
): { keep: string } | Reason {
  const value = node.input[index]!;
  const unknown = reasonFor(
    "mask-not-understood",
    `The mask of ${describeNode(node)} has none of the shapes [batch, keys], [batch], [2 batch] and [batch, queries, keys].`,
  );
  if (!mask) return unknown;
  const fill = floatAttribute(node, "mask_filter_value", -1e4);
  if (fill > mildestFill) {
    return reasonFor(
      "weighted-keys",
      `${describeNode(node)} adds only ${fill} to the logits of masked keys. Larger logits outweigh that.`,
    );
  }
  const { dims } = mask;
  if (dims.length === 1) {
    if (dims[0] === key.batch) return { keep: lengthMask(build, value, key.value, key.axis) };
    if (dims[0] !== 2 * key.batch) return unknown;
    const rows = build.op("Reshape", [value, build.integers([2, -1])]);
    const row = (at: number): string => build.squeeze(build.slice(rows, 0, at, at + 1), [0]);
    const [ends, starts] = [row(0), row(1)].map((bounds) => before(build, bounds, key.value, key.axis)) as [
      string,
      string,
    ];
    return { keep: build.unsqueeze(build.op("And", [ends, build.op("Not", [starts])]), [1, 2]) };
  }
  if (dims.at(-1) !== key.keys || dims.length > 4) return unknown;
  const boolean = mask.dataType === DataType.BOOL ? value : build.cast(value, DataType.BOOL);
  return { keep: build.unsqueeze(boolean, dims.length === 2 ? [1, 2] : dims.length === 3 ? [1] : []) };
}
