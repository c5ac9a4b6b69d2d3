import { ArgumentError } from "../../errors.ts";
import { requireKernels } from "../../kernels/block-kernels.ts";
import type { BlockKernels } from "../../kernels/block-kernels.ts";
import type { HeadInputs } from "./head-inputs.ts";
import { attendCausally } from "./causal.ts";
import { featuresByHead } from "./features.ts";
import type { FeatureMap32 } from "./features.ts";
import { maskNames, resolveAttention } from "./rows.ts";
import type { AttentionShape, MaskOptions, ResolvedAttention } from "./rows.ts";
import { TILE } from "./rows.ts";
import { FavorWorkspace } from "./workspace.ts";
import { requireOptions } from "../../options.ts";

/**
 * FAVOR in float32, the fast form of `favorAttention`, for self- and cross-attention with grouped queries. Features are
 * computed, used and dropped tile by tile: besides its result it holds a few M x d numbers, regardless of the length.
 * Takes O((L_q + L_k) M d) time. With `causal` it uses chunked prefix sums (2009.14794, section 2.5.1) and needs
 * `keyRows === queryRows`.
 *
 * The mask multiplies phi(K), in the numerator and the denominator; hidden keys and values are never read. A query with
 * no key to attend to gives 0. Log features of exponential maps may have any size that float32 holds. In causal
 * attention no output depends on later rows, bit for bit. NaN or Infinity in a query gives NaN in its row; in a key or
 * value it gives NaN in every row that sees it.
 *
 * @param kernels From `createKernels`.
 * @param query `[heads, queryRows, dim]`.
 * @param key `[keyHeads, keyRows, dim]`.
 * @param value `[keyHeads, keyRows, valueDim]`.
 * @param features One for all heads, or one per key head, from {@link exponentialFeatures32}, {@link
 * trigonometricFeatures32} or {@link elementwiseFeatures32}.
 * @returns `[heads, queryRows, valueDim]`.
 * @throws ArgumentError if the arrays or features do not fit the shape.
 */
export function favorAttention32(
  kernels: BlockKernels,
  query: Float32Array,
  key: Float32Array,
  value: Float32Array,
  shape: AttentionShape,
  features: FeatureMap32 | readonly FeatureMap32[],
  options: MaskOptions = {},
): Float32Array<ArrayBuffer> {
  requireKernels(kernels);
  requireOptions("options", options, maskNames);
  const attention = resolveAttention(query, key, value, shape, options);
  checkCausalRows(attention);
  const { heads, keyHeads, queryRows, dim, valueDim, causal } = attention;
  const byHead = featuresByHead(features, keyHeads, dim);
  const hasCore = byHead.some(({ core }) => core !== undefined);
  const workspace = new FavorWorkspace(kernels, attention, byHead[0]!.count, hasCore);
  const out = new Float32Array(heads * queryRows * valueDim);
  for (const [keyHead, each] of byHead.entries()) {
    workspace.startHead(each);
    const attend = causal ? attendCausally : attendBothWays;
    attend(workspace, { query, key, value, keyHead, hasCore: each.core !== undefined }, out);
  }
  return out;
}

/** @throws ArgumentError if causal attention has more keys than queries: there is no state to continue from. */
export function checkCausalRows({ causal, queryRows, keyRows }: ResolvedAttention): void {
  if (causal && queryRows !== keyRows) {
    throw new ArgumentError("shape.keyRows", `queryRows (${queryRows}) in causal attention`, keyRows);
  }
}

/** One sweep over the keys, one over the queries. */
function attendBothWays(workspace: FavorWorkspace, inputs: HeadInputs, out: Float32Array): void {
  const { query, keyHead, hasCore } = inputs;
  const { at, attention } = workspace;
  const { queryRows, keyRows, group, visible } = attention;
  const keys = visible?.length ?? keyRows;
  if (keys === 0) return;
  sumKeys(workspace, inputs);
  if (hasCore) joinSums(workspace);
  const sums = hasCore ? at.joinedSums : at.sums;
  const normaliser = hasCore ? at.joinedNormaliser : at.normaliser;
  for (let head = keyHead * group; head < (keyHead + 1) * group; head++) {
    for (let start = 0; start < queryRows; start += TILE) {
      const end = Math.min(queryRows, start + TILE);
      workspace.loadQueries(query, head, start, end);
      workspace.finishQueries(end - start);
      workspace.attendToSums(end - start, sums, normaliser);
      workspace.store(out, head, start, end);
    }
  }
}

/** S = sum_j phi(k_j) v_j^T and z = sum_j phi(k_j), over the visible keys of a head. */
export function sumKeys(workspace: FavorWorkspace, inputs: HeadInputs): void {
  const { at, attention } = workspace;
  const { keyRows, visible } = attention;
  const keys = visible?.length ?? keyRows;
  for (let start = 0; start < keys; start += TILE) {
    const end = Math.min(keys, start + TILE);
    workspace.loadKeys(inputs, visible, start, end);
    workspace.raiseMaximum(0, end - start);
    workspace.finishKeys(0, end - start);
    workspace.addToSums(at.keyFeatures, 0, end - start);
  }
}

/** joinedSums = C S, joinedNormaliser = C z. */
export function joinSums({ kernels, heap, at, countWidth: count, valueWidth }: FavorWorkspace): void {
  kernels.matmulTransposed({
    out: at.joinedSums,
    left: at.core,
    right: at.sums,
    rows: count,
    cols: valueWidth,
    depth: count,
    leftRow: count,
  });
  heap.fill(0, at.joinedNormaliser, at.joinedNormaliser + count);
  for (let m = 0; m < count; m++) {
    const z = heap[at.normaliser + m]!;
    if (z === 0) continue;
    for (let n = 0; n < count; n++) heap[at.joinedNormaliser + n]! += z * heap[at.core + m * count + n]!;
  }
}
