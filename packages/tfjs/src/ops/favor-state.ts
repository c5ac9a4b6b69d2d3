import { ArgumentError } from "@favor/core";
import type { FeatureMapDescription } from "@favor/core";
import * as tf from "@tensorflow/tfjs-core";
import { numbersOnHost } from "../attention-inputs.ts";
import { continueFavor } from "./causal.ts";
import type { Past } from "./causal.ts";
import type { FeatureParameters } from "./feature-parameters.ts";
import type { GroupedInputs } from "./grouped-inputs.ts";

/** What every call that continues a state must have in common. */
export interface Continued {
  readonly batch: number;
  readonly heads: number;
  readonly valueDim: number;
  readonly scale: number;
  readonly maps: readonly FeatureMapDescription[];
  readonly projection: tf.Tensor | undefined;
}

/**
 * The tokens that causal FAVOR has seen, `[batch, heads, count, valueDim + 1]` numbers whatever their count. Made by
 * {@link startFavor} and updated in place by `favorAttention`.
 */
export class FavorState {
  #past: (Past & Continued) | undefined;

  /** Attends to the tokens so far and to those of `inputs`, which it adds. */
  continue(inputs: GroupedInputs, parameters: FeatureParameters, call: Continued): tf.Tensor {
    const before = this.#past;
    if (before) requireSame(before, call);
    const { out, past } = continueFavor(inputs, parameters, before);
    // a tensor of our own, so that the caller may dispose of theirs
    const projection = call.projection && tf.keep(tf.clone(call.projection));
    this.dispose();
    this.#past = { ...call, sums: tf.keep(past.sums), reference: tf.keep(past.reference), projection };
    return out;
  }

  /** Frees the tensors of the state. */
  dispose(): void {
    this.#past?.sums.dispose();
    this.#past?.reference.dispose();
    this.#past?.projection?.dispose();
  }
}

function notMadeWith(what: string): ArgumentError {
  return new ArgumentError("state", `a state made with the same ${what}`, "one made with others");
}

/** @throws ArgumentError if a call cannot continue the state of earlier ones. */
function requireSame(before: Past & Continued, call: Continued): void {
  if (before.sums.isDisposed) throw new ArgumentError("state", "a state that is not disposed", "a disposed one");
  if (!areSame(before.maps, call.maps)) throw notMadeWith("feature maps");
  const [sizes, given] = [sizesOf(before), sizesOf(call)];
  if (sizes !== given) throw new ArgumentError("state", `a state of ${given}`, `one of ${sizes}`);
  if (before.scale !== call.scale) {
    throw new ArgumentError("state", `a state made with scale ${call.scale}`, `one made with ${before.scale}`);
  }
  if (!areEqual(before.projection, call.projection))
    throw notMadeWith("projection (pass the same tensor to every call)");
}

function sizesOf({ batch, heads, valueDim }: Continued): string {
  return `${batch} sequences, ${heads} heads and values of ${valueDim}`;
}

function areSame(a: readonly FeatureMapDescription[], b: readonly FeatureMapDescription[]): boolean {
  return a.length === b.length && a.every((map, i) => map === b[i] || JSON.stringify(map) === JSON.stringify(b[i]));
}

/** Whether two projections are one tensor that has not been assigned to, or, where reading them is free, have the same numbers. */
function areEqual(a: tf.Tensor | undefined, b: tf.Tensor | undefined): boolean {
  if (!a || !b) return a === b;
  if (a.dataId === b.dataId) return true;
  const [ours, theirs] = [numbersOnHost(a), numbersOnHost(b)];
  if (!ours || !theirs || !tf.util.arraysEqual(a.shape, b.shape)) return false;
  return Array.prototype.every.call(ours, (value, i) => value === theirs[i]);
}

/**
 * The state of a sequence before its first token, for the option `state` of `favorAttention`: the next call continues
 * after the keys of the last, in O(count valueDim) time per token and without their keys and values. Call `dispose` at
 * the end. All calls have the same batch, heads, width of values, feature map, scale and projection; others are refused.
 *
 * @throws ArgumentError for any argument: unlike that of @favor/core, this one takes none.
 */
export function startFavor(...none: readonly never[]): FavorState {
  if (none.length > 0) throw new ArgumentError("startFavor", "no argument (favorAttention takes the options)", none[0]);
  return new FavorState();
}
