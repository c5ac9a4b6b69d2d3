import * as tf from "@tensorflow/tfjs";

import type { NamedTensors } from "./stage.ts";

export interface AdamWOptions {
  /** Decay of the first moment; default 0.9. */
  readonly beta1?: number;
  /** Decay of the second moment; default 0.98. */
  readonly beta2?: number;
  /** Default 1e-8. */
  readonly epsilon?: number;
  /** Decoupled weight decay of the variables that decay; default 0.1. */
  readonly decay?: number;
}

/** A trained variable, and whether weight decay applies to it. */
export interface TrainedVariable {
  readonly variable: tf.Variable;
  readonly decays: boolean;
  /** Factor of the learning rate; default 1. */
  readonly scale?: number;
  /**
   * Smallest value of a variable that must stay positive. Its logarithm is stepped, with the given gradients, and values
   * below the minimum are raised to it. Steps of the values would wipe out entries smaller than the learning rate.
   */
  readonly least?: number;
}

/**
 * AdamW (Loshchilov & Hutter 2017): Adam with bias correction, and weights decayed by the learning rate times `decay`.
 * Moments are tensors of the backend. Every variable is stepped in its own tidy, so that temporaries are freed before the
 * next.
 */
export class AdamW {
  readonly #variables: ReadonlyMap<string, TrainedVariable>;
  readonly #options: Required<AdamWOptions>;
  readonly #moments: Map<string, { first: tf.Tensor; second: tf.Tensor }> = new Map();
  #steps = 0;

  constructor(variables: ReadonlyMap<string, TrainedVariable>, options: AdamWOptions = {}) {
    this.#variables = variables;
    this.#options = { beta1: 0.9, beta2: 0.98, epsilon: 1e-8, decay: 0.1, ...options };
    for (const [name, { variable }] of variables) {
      const zeros = (): tf.Tensor => tf.keep(tf.zeros(variable.shape));
      this.#moments.set(name, { first: zeros(), second: zeros() });
    }
  }

  /**
   * Makes one step.
   *
   * @param gradients - by variable; variables without a gradient do not change.
   * @param learningRate - learning rate of this step.
   * @param scale - factor of the gradients: 1, or less to clip their norm.
   */
  step(gradients: ReadonlyMap<string, tf.Tensor>, learningRate: number, scale: number): void {
    const { beta1, beta2, epsilon, decay } = this.#options;
    this.#steps++;
    // m_hat / (sqrt(v_hat) + eps), with the corrections factored out of the tensors.
    const root = Math.sqrt(1 - beta2 ** this.#steps);
    const rate = (learningRate * root) / (1 - beta1 ** this.#steps);
    for (const [name, { variable, decays, scale: own = 1, least }] of this.#variables) {
      const gradient = gradients.get(name);
      const moments = this.#moments.get(name)!;
      if (gradient === undefined) continue;
      const next = tf.tidy(() => {
        const clipped = scale === 1 ? gradient : tf.mul(gradient, scale);
        const first = tf.add(tf.mul(moments.first, beta1), tf.mul(clipped, 1 - beta1));
        const second = tf.add(tf.mul(moments.second, beta2), tf.mul(tf.square(clipped), 1 - beta2));
        const change = tf.div(first, tf.add(tf.sqrt(second), epsilon * root));
        if (least === undefined) {
          const kept = decays ? tf.mul(variable, 1 - learningRate * own * decay) : variable;
          variable.assign(tf.sub(kept, tf.mul(change, rate * own)));
        } else {
          variable.assign(tf.maximum(tf.mul(variable, tf.exp(tf.mul(change, -rate * own))), least));
        }
        return { first: tf.keep(first), second: tf.keep(second) };
      });
      tf.dispose([moments.first, moments.second]);
      this.#moments.set(name, next);
    }
  }

  /** Moments and the number of steps. */
  async state(): Promise<NamedTensors> {
    const state = new Map<string, Float32Array>([["steps", Float32Array.of(this.#steps)]]);
    for (const [name, { first, second }] of this.#moments) {
      state.set(`first/${name}`, (await first.data()) as Float32Array);
      state.set(`second/${name}`, (await second.data()) as Float32Array);
    }
    return state;
  }

  /** Restores {@link AdamW.state}. */
  restore(state: NamedTensors): void {
    this.#steps = state.get("steps")![0]!;
    for (const [name, { variable }] of this.#variables) {
      tf.dispose([this.#moments.get(name)!.first, this.#moments.get(name)!.second]);
      const tensor = (key: string): tf.Tensor => tf.keep(tf.tensor(state.get(key)!.slice(), variable.shape));
      this.#moments.set(name, { first: tensor(`first/${name}`), second: tensor(`second/${name}`) });
    }
  }

  dispose(): void {
    for (const { first, second } of this.#moments.values()) tf.dispose([first, second]);
    this.#moments.clear();
  }
}
