import { requireKernels } from "../../../kernels/block-kernels.ts";
import type { BlockKernels } from "../../../kernels/block-kernels.ts";
import { favorAttention32 } from "../favor.ts";
import type { FeatureMap32 } from "../features.ts";
import { Layout, TILE } from "../rows.ts";
import type { AttentionShape } from "../rows.ts";
import { FavorWorkspace } from "../workspace.ts";
import { loadKeyBlocks } from "./blocks.ts";
import { prepareChoice } from "./choose.ts";
import { HybridWorkspace, resolveHybrid } from "./workspace.ts";
import type { HybridOptions32 } from "./workspace.ts";

/**
 * Hybrid attention in float32, the fast form of `hybridAttention`: near keys and chosen blocks exact, all others by
 * features, in one numerator and one normaliser. Self-attention in both directions, cross-attention (`near: false`),
 * masks and grouped queries; every query head chooses its own blocks.
 *
 * With `window` 0 it is `favorAttention32`. Takes O(L (M + window + chosen keys) d) time and O(log(blocks) M d) per block of queries, besides the selector, whose
 * default costs a sixteenth of Q K^T. Besides its result it holds one head's keys and values, and 2 M (d + 2) numbers per
 * block of keys.
 *
 * The far field is a sum of sums over ranges of blocks, without the exact ones, and nothing is subtracted. Exact part and
 * far field are on one scale, the larger of the two, so that logits of any size that float32 holds neither over- nor
 * underflow. In causal attention no output depends on later rows, bit for bit. A query that sees no key gives 0. NaN in a
 * key or value gives NaN in every row that sees it, exact or through features.
 *
 * @param kernels From `createKernels`.
 * @param query `[heads, queryRows, dim]`.
 * @param key `[keyHeads, keyRows, dim]`.
 * @param value `[keyHeads, keyRows, valueDim]`.
 * @param features One for all heads, or one per key head, from `exponentialFeatures32` with the same scale; undefined
 * drops the far field.
 * @returns `[heads, queryRows, valueDim]`.
 * @throws ArgumentError if the arrays, features or options do not fit, or the features are not exponential.
 */
export function hybridAttention32(
  kernels: BlockKernels,
  query: Float32Array,
  key: Float32Array,
  value: Float32Array,
  shape: AttentionShape,
  features: FeatureMap32 | readonly FeatureMap32[] | undefined,
  options: HybridOptions32,
): Float32Array<ArrayBuffer> {
  requireKernels(kernels);
  const call = resolveHybrid(query, key, value, shape, features, options);
  const { attention, exact, scale } = call;
  if (exact.window === 0) return favorAttention32(kernels, query, key, value, shape, call.features, call.mask);
  const { heads, keyHeads, queryRows, valueDim, group } = attention;
  const hasCore = call.features.some(({ core }) => core !== undefined);
  const layout = new Layout();
  const at = HybridWorkspace.layOut(layout, call, false);
  const favor = new FavorWorkspace(kernels, attention, call.features[0]!.count, hasCore, layout);
  const workspace = new HybridWorkspace(call, at, favor);
  const out = new Float32Array(heads * queryRows * valueDim);
  for (let keyHead = 0; keyHead < keyHeads; keyHead++) {
    workspace.startHead({ query, key, value, keyHead, hasCore: call.features[keyHead]!.core !== undefined });
    loadKeyBlocks(workspace, key, value, keyHead, at.scratch);
    const choose = prepareChoice(workspace, key, keyHead, scale, call.selectors[keyHead]!);
    for (let head = keyHead * group; head < (keyHead + 1) * group; head++) {
      for (const [block, chosen] of choose(query, head).entries()) {
        const plan = workspace.plan(block, chosen);
        if (plan.nodes.length > 0) workspace.loadFarField(plan);
        const end = Math.min(queryRows, (block + 1) * exact.window);
        for (let start = block * exact.window; start < end; start += TILE) {
          const to = Math.min(end, start + TILE);
          workspace.attend(query, head, start, to, plan);
          favor.store(out, head, start, to);
        }
      }
    }
  }
  return out;
}
