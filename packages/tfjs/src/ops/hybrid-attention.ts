import { ArgumentError, exponentialForm } from "@favor/core";
import type { OptionNames } from "@favor/core";
import * as tf from "@tensorflow/tfjs-core";
import { attentionNames, attentionSizes, isEmpty, requireShape } from "../attention-inputs.ts";
import { zerosOf } from "../kernels/zeros.ts";
import { runningMaximum } from "./causal.ts";
import { detached } from "./detached.ts";
import { favorAttention } from "./favor-attention.ts";
import type { FavorAttentionOptions } from "./favor-attention.ts";
import { featureParameters, listDescriptions } from "./feature-parameters.ts";
import type { FeatureMaps, FeatureParameters } from "./feature-parameters.ts";
import { finiteKeys, nanUnless } from "./finite-keys.ts";
import { groupInputs } from "./grouped-inputs.ts";
import type { GroupedInputs } from "./grouped-inputs.ts";
import { attendBlocks } from "./hybrid/attend-blocks.ts";
import { blockSums } from "./hybrid/block-sums.ts";
import { chooseBlocks } from "./hybrid/choose-blocks.ts";
import { layOutBlocks, nearOffsets, requireExactKeys } from "./hybrid/exact-keys.ts";
import type { BlockLayout, ExactKeys } from "./hybrid/exact-keys.ts";
import type { FirstKey } from "./hybrid/exact-parts.ts";
import { weightedValues } from "./normalized.ts";
import { recomputed } from "./recompute.ts";
import { shownRows } from "./shown-rows.ts";

export interface HybridAttentionOptions extends Omit<FavorAttentionOptions, "featureMap" | "state"> {
  /** Which keys are exact. */
  readonly exactKeys: ExactKeys;
  /**
   * Estimates all other keys: a feature map with an exponential form, one for all heads or one per head. Default: they are
   * left out.
   */
  readonly featureMap?: FeatureMaps | undefined;
  /**
   * `[batch, queries]`; 0 leaves a query out of choosing blocks. Default: the mask where there is a near field, otherwise
   * all count.
   */
  readonly queryMask?: tf.Tensor | undefined;
}

const optionNames: OptionNames<HybridAttentionOptions> = {
  ...attentionNames,
  exactKeys: true,
  featureMap: true,
  projection: true,
  queryMask: true,
};

/** The most numbers that are picked for some blocks of queries at a time. */
const mostPicked = 1 << 21;

/**
 * Attention that is exact for some keys of each query and estimated by features for all others, as `hybridAttention` of
 * @favor/core defines it. Exact are the first key that the mask shows, the query's own block of `window` keys and both
 * neighbours (in causal attention the one before), and `chosenBlocks` further blocks for each block of queries. Every key
 * counts once, in one numerator and one normaliser. A query that sees no key gives 0. In causal attention, later keys and values
 * change no bit of a row, whatever they hold; a key or value that is not finite gives NaN from its row on.
 *
 * It is differentiable in q, k, v and `projection`; the choice of blocks is a constant. It takes O(length (count + exact
 * keys) width) time, besides (length / window)^2 count width for sums of blocks, and length^2 / 16 width for the choice.
 * Only the inputs and one sum per block stay alive between the passes: everything else is made again, some blocks of
 * queries at a time.
 *
 * With `window` 0 it is {@link favorAttention}.
 *
 * @param q `[batch, heads, queries, dim]`, float32.
 * @param k `[batch, heads, keys, dim]`, float32; as many as queries for a near field and in causal attention.
 * @param v `[batch, heads, keys, valueDim]`, float32.
 * @returns `[batch, heads, queries, valueDim]`.
 * @throws ArgumentError, naming the argument, for what favorAttention refuses, exactKeys that do not fit, a feature map
 * without an exponential form, or neither an exact key nor a feature map; FavorError `unknown-option`.
 */
export function hybridAttention(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  options: HybridAttentionOptions,
): tf.Tensor4D {
  const sizes = attentionSizes(q, k, v, options ?? {}, optionNames, { state: " favorAttention takes it." });
  const { exactKeys, queryMask, ...estimated } = options ?? {};
  const { featureMap, causal = false, mask } = estimated;
  requireExactKeys(exactKeys);
  const { window, near = true, chosenBlocks = 0 } = exactKeys;
  if (featureMap === undefined && (window === 0 || (!near && chosenBlocks === 0))) {
    throw new ArgumentError("featureMap", "a feature map, because no key is exact", featureMap);
  }
  if (window === 0) return favorAttention(q, k, v, { ...estimated, featureMap: featureMap! });
  const descriptions = featureMap === undefined ? undefined : listDescriptions(featureMap, sizes.heads);
  // refuses maps without an exponential form
  if (descriptions) exponentialForm(descriptions[0]!);
  const layout = layOutBlocks(exactKeys, sizes, causal);
  const { batch, heads, queries, valueDim } = sizes;
  if (queryMask) requireShape("queryMask", queryMask, [batch, queries]);
  if (isEmpty(sizes)) return zerosOf([q, k, v], [batch, heads, queries, valueDim]) as tf.Tensor4D;
  return tf.tidy(() => {
    const parameters = descriptions && featureParameters(descriptions, estimated.projection);
    const grouping = groupInputs(q, k, v, sizes, mask, parameters);
    const { weights } = grouping.inputs;
    const queryWeights = queryMask
      ? grouping.foldMask(queryMask)
      : near
        ? weights
        : tf.ones([weights.shape[0]!, queries]);
    const attend = (inputs: GroupedInputs): tf.Tensor =>
      tf.slice(byBlocks(inputs, queryWeights, layout, parameters), [0, 0, 0], [-1, queries, -1]);
    return grouping.unfold(causal ? withoutLaterKeys(grouping.inputs, attend) : attend(grouping.inputs));
  });
}

/** Causal `attend` where keys that are not finite give NaN from their row on, and change no bit of a row before. */
function withoutLaterKeys(inputs: GroupedInputs, attend: (inputs: GroupedInputs) => tf.Tensor): tf.Tensor {
  const finite = finiteKeys(inputs.k, inputs.v);
  const out = attend({ ...inputs, k: shownRows(inputs.k, finite), v: shownRows(inputs.v, finite) });
  const isNaN = detached(() => runningMaximum(tf.sub(1, tf.squeeze(finite, [2]))));
  return tf.add(out, nanUnless(tf.expandDims(tf.sub(1, isNaN), 2)));
}

/** `[groups, queryBlocks * window, valueDim]`. */
function byBlocks(
  { q, k, v, weights }: GroupedInputs,
  queryWeights: tf.Tensor,
  layout: BlockLayout,
  parameters: FeatureParameters | undefined,
): tf.Tensor {
  const { window, queryBlocks, keyBlocks, near, chosenBlocks } = layout;
  const [groups, , dim] = q.shape as [number, number, number];
  const valueDim = v.shape[2]!;
  const query = padded(q, queryBlocks * window);
  const key = padded(k, keyBlocks * window);
  const value = padded(v, keyBlocks * window);
  const shown = padded(weights, keyBlocks * window);
  const isFirst = near ? detached(() => firstShown(shown)) : undefined;
  const first = isFirst && firstKey(isFirst, key, value, shown);
  const blockWeights = isFirst ? tf.mul(shown, tf.sub(1, isFirst)) : shown;
  const chosen =
    chosenBlocks > 0
      ? chooseBlocks(
          { q: query, k: key, weights: blockWeights, queryWeights: padded(queryWeights, queryBlocks * window) },
          layout,
        )
      : undefined;
  const sums = parameters && blockSums({ k: key, v: value, weights: blockWeights }, layout, parameters);
  const names = Object.keys(parameters?.tensors ?? {});
  const keys = tf.reshape(key, [groups * keyBlocks, window * dim]);
  const values = tf.reshape(weightedValues(value, blockWeights), [groups * keyBlocks, window * (valueDim + 1)]);

  const slots = nearOffsets(layout).length + chosenBlocks;
  const perBlock = groups * slots * window * (dim + valueDim + 3 * window) + groups * keyBlocks * (chosenBlocks + 4);
  const size = Math.max(1, Math.floor(mostPicked / perBlock));
  const out: tf.Tensor[] = [];
  for (let from = 0; from < queryBlocks; from += size) {
    const to = Math.min(queryBlocks, from + size);
    const shared: Record<string, tf.Tensor> = {
      query: tf.slice(query, [0, from * window, 0], [groups, (to - from) * window, dim]),
      keys,
      values,
      ...(first && { firstKey: first.key, firstValue: first.value, position: first.position }),
      ...(chosen && { chosen: tf.slice(chosen, [0, from, 0], [groups, to - from, chosenBlocks]) }),
      ...(sums && { sums: sums.sums, scales: sums.scales }),
    };
    const at = [...Object.keys(shared), ...names];
    const attend = recomputed((...given) => {
      const t = Object.fromEntries(at.map((name, i) => [name, given[i]!])) as Record<string, tf.Tensor>;
      return attendBlocks(
        t["query"]!,
        {
          keys: t["keys"]!,
          values: t["values"]!,
          chosen: t["chosen"],
          first: first && { key: t["firstKey"]!, value: t["firstValue"]!, position: t["position"]! },
          far: sums && {
            sums: t["sums"]!,
            scales: t["scales"]!,
            count: sums.count,
            parameters: parameters!,
            tensors: t,
          },
        },
        layout,
        from,
      );
    });
    out.push(attend(...Object.values(shared), ...Object.values(parameters?.tensors ?? {})));
  }
  return out.length === 1 ? out[0]! : tf.concat(out, 1);
}

/** x `[groups, length, ...]` with zeros up to `rows`. */
function padded(x: tf.Tensor, rows: number): tf.Tensor {
  const [groups, length, ...rest] = x.shape as [number, number];
  return length === rows ? x : tf.concat([x, tf.zeros([groups, rows - length, ...rest])], 1);
}

/** `[groups, keys]`: 1 at the first key that is shown, else 0. */
function firstShown(weights: tf.Tensor): tf.Tensor {
  const shown = tf.cast(tf.greater(weights, 0), "float32");
  const position = tf.expandDims(tf.argMax(shown, 1), 1);
  const isThere = tf.cast(tf.equal(tf.range(0, weights.shape[1]!, 1, "int32"), position), "float32");
  return tf.mul(isThere, shown);
}

function firstKey(isFirst: tf.Tensor, key: tf.Tensor, value: tf.Tensor, weights: tf.Tensor): FirstKey {
  const row = tf.expandDims(isFirst, 1);
  const positions = tf.range(0, isFirst.shape[1]!);
  return {
    key: tf.matMul(row, key),
    value: tf.matMul(row, weightedValues(value, weights)),
    position: detached(() => tf.sum(tf.mul(isFirst, positions), 1, true)),
  };
}
