import { withSlopesOf } from "./alibi.ts";
import { hasHeadsSlowest } from "./operands/batch-order.ts";
import { channelAxes } from "./operands/channel-axes.ts";
import { dimsOf, type AttentionContext } from "./context.ts";
import { batchSizes } from "./operands/operand-roles.ts";
import type { AttentionSite, Operand } from "./site.ts";

/** A site in the form that emitters take. */
export interface EmittedSite extends AttentionSite {
  /**
   * Number of heads that the "batch" axis of every operand holds in addition to the batch, heads slowest: entry i belongs
   * to head floor(i / batch). Absent if heads have an axis of their own, or are the faster part.
   */
  readonly joinedHeads?: number;
}

/**
 * Separates the heads of a site that are joined along the batch with the heads slowest, as by TensorFlow's
 * `concat(split(x, heads, 2), 0)`. Such an attention is found as a single head over a larger batch. That is right for
 * softmax, but features are drawn and calibrated per head.
 */
export function separateHeads(context: AttentionContext, site: AttentionSite): EmittedSite {
  if (site.heads !== 1) return site;
  const [heads, ...others] = [site.query, site.key, site.value].map((operand) => headsJoined(context, operand));
  if (heads === undefined || others.some((other) => other !== heads)) return site;
  return { ...site, heads, keyValueHeads: heads, joinedHeads: heads, mask: withSlopesOf(heads, site.mask) };
}

function headsJoined(context: AttentionContext, { value, roles }: Operand): number | undefined {
  const axis = roles.indexOf("batch");
  const batch = batchSizes(context);
  const size = dimsOf(context, value)?.[axis];
  const second = context.second?.info.get(value)?.dims[axis];
  if (size === undefined || second === undefined || batch.second === undefined) return undefined;
  const heads = size / batch.first;
  if (heads === 1 || !Number.isInteger(heads) || second / batch.second !== heads) return undefined;
  // Heads are channels of a projection, not frames or windows of the input.
  if (channelAxes(context, value)?.has(axis) === false) return undefined;
  return hasHeadsSlowest(context, value, axis, batch.first) ? heads : undefined;
}
