import { describeNode } from "@favor/onnx/graph";
import { dimsOf, type AttentionContext } from "../context.ts";
import type { Region, RegionLabels } from "../wiring/region.ts";
import { reasonFor, type Reason } from "../../refusals/reason.ts";

/**
 * Names the layout in which queries of several heads lie on one axis of positions of the logits, and the mask separates
 * them again: grouped queries as tf2onnx writes their Einsum, one product for all heads that share a key head. Without a
 * mask per position, such a product is ordinary attention with more queries than keys.
 *
 * @param reasons the reasons found against the region while its rows were taken for positions
 * @returns the reasons, with the layout in place of the mask that was misread
 */
export function foldedQueryReasons(
  context: AttentionContext,
  region: Region,
  labels: RegionLabels,
  reasons: readonly Reason[],
): readonly Reason[] {
  const folded = reasons.some(({ code }) => code === "per-query-mask") && foldedHeads(context, region, labels);
  if (!folded) return reasons;
  const found = `${describeNode(region.logits.node)} folds the queries of ${folded} heads that share a key head into one axis of positions, as tf2onnx writes the Einsum of grouped queries, but their mask goes by position.`;
  return [reasonFor("folded-queries", found)];
}

/** How many queries a product has per key, if that is the same at all lengths and the rows are split by that number. */
function foldedHeads(context: AttentionContext, { logits, nodes }: Region, labels: RegionLabels): number | undefined {
  const axisOf = (label: string): number => logits.output.labels.indexOf(label);
  const [query, key] = [axisOf(labels.logits.query), axisOf(labels.logits.key)];
  const ratios = [context.first, context.second].map((probe) => {
    const dims = probe?.info.get(logits.output.value)?.dims;
    return dims && dims[query]! / dims[key]!;
  });
  const [heads] = ratios;
  if (heads === undefined || heads < 2 || !Number.isInteger(heads) || ratios[1] !== heads) return undefined;
  const keys = dimsOf(context, logits.output.value)![key]!;
  const takenApart = nodes.some(({ opType, output }) => {
    const dims = opType === "Reshape" ? dimsOf(context, output[0]!) : undefined;
    return dims !== undefined && dims.filter((size) => size === keys).length >= 2 && dims.includes(heads);
  });
  return takenApart ? heads : undefined;
}
