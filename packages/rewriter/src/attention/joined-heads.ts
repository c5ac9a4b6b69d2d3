import { hasHeadsSlowest } from "./operands/batch-order.ts";
import { channelAxes } from "./operands/channel-axes.ts";
import { dimsOf, type AttentionContext } from "./context.ts";
import { batchSizes } from "./operands/operand-roles.ts";
import type { AttentionSite, Operand } from "./site.ts";

/** A site as emitters take it. */
export interface EmittedSite extends AttentionSite {
  /**
   * How many heads the "batch" axis of every operand holds beside the batch, heads slowest: entry i is of head
   * floor(i / batch). Absent where heads have an axis of their own, or are the faster part.
   */
  readonly joinedHeads?: number;
}

/**
 * Tells the heads of a site apart that are joined along the batch with the heads slowest, as TensorFlow's
 * `concat(split(x, heads, 2), 0)` does. Such an attention is found as one of a single head over a larger batch, which is
 * right for softmax; features are drawn and calibrated for each head.
 */
export function separateHeads(context: AttentionContext, site: AttentionSite): EmittedSite {
  if (site.heads !== 1) return site;
  const [heads, ...others] = [site.query, site.key, site.value].map((operand) => headsJoined(context, operand));
  if (heads === undefined || others.some((other) => other !== heads)) return site;
  return { ...site, heads, keyValueHeads: heads, joinedHeads: heads };
}

function headsJoined(context: AttentionContext, { value, roles }: Operand): number | undefined {
  const axis = roles.indexOf("batch");
  const batch = batchSizes(context);
  const size = dimsOf(context, value)?.[axis];
  const second = context.second?.info.get(value)?.dims[axis];
  if (size === undefined || second === undefined || batch.second === undefined) return undefined;
  const heads = size / batch.first;
  if (heads === 1 || !Number.isInteger(heads) || second / batch.second !== heads) return undefined;
  // Frames or windows of the input, rather than channels of its projection, are no heads.
  if (channelAxes(context, value)?.has(axis) === false) return undefined;
  return hasHeadsSlowest(context, value, axis, batch.first) ? heads : undefined;
}
