import { requireLayout } from "../../checks.ts";
import { requireKernels } from "../../kernels/block-kernels.ts";
import type { BlockKernels } from "../../kernels/block-kernels.ts";
import type { HeadInputs } from "./head-inputs.ts";
import { differentiateCausally } from "./causal-backward.ts";
import { checkCausalRows, joinSums, sumKeys } from "./favor.ts";
import { featuresByHead } from "./features.ts";
import type { FeatureMap32 } from "./features.ts";
import type { AttentionGradients32 } from "./gradient-rows.ts";
import { FavorGradients } from "./gradients.ts";
import { maskNames, resolveAttention } from "./rows.ts";
import type { AttentionShape, MaskOptions } from "./rows.ts";
import { TILE } from "./rows.ts";
import { requireOptions } from "../../options.ts";

/**
 * Backward pass of `favorAttention32`, through the features to q, k and v. Supports every {@link FeatureMap32}, masks,
 * grouped queries and cores.
 *
 * Features are recomputed tile by tile. Takes O((L_q + L_k) M d) time, eleven products of L M d where the forward pass
 * has four. Besides the gradients it holds a few M x d numbers. Causal attention also holds two numbers per query row
 * of a group and at most M / 64 per row, because the sweep back through the prefix sums needs what each chunk was held
 * relative to (2009.14794, appendix B.1).
 *
 * The gradient of a query depends on no later key, bit for bit. Hidden keys, and queries that see no key, have gradient
 * 0. NaN gives NaN in every gradient that it reaches, and in causal attention also in keys and values of the same 64
 * rows.
 *
 * @param gradient Gradient of the loss with respect to the output, `[heads, queryRows, valueDim]`.
 * @returns query `[heads, queryRows, dim]`, key `[keyHeads, keyRows, dim]` and value `[keyHeads, keyRows, valueDim]`,
 * the last two summed over the query heads that share a key head.
 * @throws ArgumentError if the arrays or features do not fit the shape.
 */
export function favorAttentionBackward32(
  kernels: BlockKernels,
  query: Float32Array,
  key: Float32Array,
  value: Float32Array,
  shape: AttentionShape,
  features: FeatureMap32 | readonly FeatureMap32[],
  gradient: Float32Array,
  options: MaskOptions = {},
): AttentionGradients32 {
  requireKernels(kernels);
  requireOptions("options", options, maskNames);
  const attention = resolveAttention(query, key, value, shape, options);
  checkCausalRows(attention);
  const { heads, keyHeads, queryRows, dim, valueDim, causal } = attention;
  requireLayout("gradient", gradient, "[heads, queryRows, valueDim]", heads * queryRows * valueDim);
  const byHead = featuresByHead(features, keyHeads, dim);
  const hasCore = byHead.some(({ core }) => core !== undefined);
  const steps = new FavorGradients(kernels, attention, byHead[0]!.count, hasCore);
  for (const [keyHead, each] of byHead.entries()) {
    steps.startHead(each);
    const differentiate = causal ? differentiateCausally : differentiateBothWays;
    differentiate(steps, { query, key, value, keyHead, hasCore: each.core !== undefined }, gradient);
  }
  return steps.gradients;
}

/**
 * One sweep over the keys for S and z, one over the queries for d phi_q, R and r, and one over the keys that uses
 * these.
 */
function differentiateBothWays(steps: FavorGradients, inputs: HeadInputs, gradient: Float32Array): void {
  const { query, keyHead, hasCore } = inputs;
  const { workspace, at } = steps;
  const { queryRows, keyRows, group, visible } = workspace.attention;
  const keys = visible?.length ?? keyRows;
  if (keys === 0) return;
  sumKeys(workspace, inputs);
  if (hasCore) joinSums(workspace);
  const sums = hasCore ? workspace.at.joinedSums : workspace.at.sums;
  const normaliser = hasCore ? workspace.at.joinedNormaliser : workspace.at.normaliser;
  steps.transposeSums(sums);
  for (let head = keyHead * group; head < (keyHead + 1) * group; head++) {
    for (let start = 0; start < queryRows; start += TILE) {
      const end = Math.min(queryRows, start + TILE);
      steps.makeQueries(query, head, start, end);
      workspace.attendToSums(end - start, sums, normaliser);
      steps.differentiateRows(gradient, head, start, end);
      steps.differentiateQueries(end - start, normaliser);
      steps.addToSums(end - start);
      steps.storeQueries(head, start, end);
    }
  }
  if (hasCore) joinGradients(steps);
  const sumsGradient = hasCore ? at.joinedSums : at.sums;
  steps.transposeSums(sumsGradient);
  for (let start = 0; start < keys; start += TILE) {
    const end = Math.min(keys, start + TILE);
    workspace.loadKeys(inputs, visible, start, end);
    steps.makeKeys(end - start);
    steps.differentiateKeys(end - start, workspace.at.values, hasCore ? at.joinedNormaliser : at.normaliser);
    steps.differentiateValues(workspace.at.keyFeatures, end - start, sumsGradient);
    steps.storeKeys(keyHead, visible, start, end);
  }
}

/** joinedSums = C^T R, joinedNormaliser = C^T r: the core on the keys' side. */
function joinGradients({ workspace, at }: FavorGradients): void {
  const { kernels, heap, countWidth: count, valueWidth: width } = workspace;
  const transposedCore = workspace.at.core;
  kernels.matmul({
    out: at.joinedSums,
    left: transposedCore,
    right: at.sums,
    rows: count,
    cols: width,
    depth: count,
    leftRow: count,
  });
  heap.fill(0, at.joinedNormaliser, at.joinedNormaliser + count);
  kernels.rowDots(at.joinedNormaliser, transposedCore, at.normaliser, count, count);
}
