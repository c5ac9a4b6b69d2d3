import { ArgumentError } from "@favor/core";
import type { FeatureMapDescription } from "@favor/core";
import * as tf from "@tensorflow/tfjs-core";
import { continueFavor } from "./causal.ts";
import type { Past } from "./causal.ts";
import type { FeatureParameters } from "./feature-parameters.ts";
import type { GroupedInputs } from "./grouped-inputs.ts";

/**
 * The tokens that causal FAVOR has seen, `[batch, heads, count, valueDim + 1]` numbers whatever their count. Made by
 * {@link startFavor} and updated in place by `favorAttention`.
 */
export class FavorState {
  #past: (Past & { readonly maps: readonly FeatureMapDescription[] }) | undefined;

  /** Attends to the tokens so far and to those of `inputs`, which it adds. */
  continue(inputs: GroupedInputs, parameters: FeatureParameters, maps: readonly FeatureMapDescription[]): tf.Tensor {
    const before = this.#past;
    if (before) {
      if (before.sums.isDisposed) throw new ArgumentError("state", "a state that is not disposed", "a disposed one");
      if (!areSame(before.maps, maps)) {
        throw new ArgumentError("state", "a state made with the same feature maps", "one made with others");
      }
      const [groups, , width] = before.sums.shape as [number, number, number];
      const given = [inputs.q.shape[0]!, inputs.v.shape[2]! + 1];
      if (groups !== given[0] || width !== given[1]) {
        throw new ArgumentError("state", `a state of ${sizesOf(given)}`, `one of ${sizesOf([groups, width])}`);
      }
    }
    const { out, past } = continueFavor(inputs, parameters, before);
    this.dispose();
    this.#past = { sums: tf.keep(past.sums), reference: tf.keep(past.reference), maps };
    return out;
  }

  /** Frees the tensors of the state. */
  dispose(): void {
    this.#past?.sums.dispose();
    this.#past?.reference.dispose();
  }
}

function sizesOf([groups, width]: readonly number[]): string {
  return `${groups} sequences and heads, and values of ${width! - 1}`;
}

function areSame(a: readonly FeatureMapDescription[], b: readonly FeatureMapDescription[]): boolean {
  return a.length === b.length && a.every((map, i) => map === b[i] || JSON.stringify(map) === JSON.stringify(b[i]));
}

/**
 * The state of a sequence before its first token, for the option `state` of `favorAttention`: the next call continues
 * after the keys of the last, in O(count valueDim) time per token and without their keys and values. Call `dispose` at
 * the end.
 *
 * @throws ArgumentError for any argument: unlike that of @favor/core, this one takes none.
 */
export function startFavor(...none: readonly never[]): FavorState {
  if (none.length > 0) throw new ArgumentError("startFavor", "no argument (favorAttention takes the options)", none[0]);
  return new FavorState();
}
