import * as tf from "@tensorflow/tfjs";

import type { NamedTensors } from "./stage.ts";

export interface AdamWOptions {
  /** Decay of the first moment; default 0.9. */
  readonly beta1?: number;
  /** Of the second moment; default 0.98. */
  readonly beta2?: number;
  /** Default 1e-8. */
  readonly epsilon?: number;
  /** Weight decay of the variables that decay, decoupled from the gradient; default 0.1. */
  readonly decay?: number;
}

/** A trained variable, and whether weight decay applies to it. */
export interface TrainedVariable {
  readonly variable: tf.Variable;
  readonly decays: boolean;
  /** What the learning rate is multiplied by for it; default 1. */
  readonly scale?: number;
  /**
   * Of what must stay positive: it is stepped by its logarithm, whose gradient is the one given, and values below this are
   * raised to it. Steps of the value itself, of the learning rate's size, would wipe out entries smaller than that.
   */
  readonly least?: number;
}

/**
 * AdamW (Loshchilov & Hutter 2017): Adam with bias correction, and weights decayed by the learning rate times `decay`.
 * Moments are tensors of the backend; every variable is stepped in a tidy of its own, so that the temporaries of one
 * are freed before the next.
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
   * One step.
   *
   * @param gradients - by variable; a variable without one stays.
   * @param learningRate - of this step.
   * @param scale - that the gradients are multiplied by first: 1, or what clips their norm.
   */
  step(gradients: ReadonlyMap<string, tf.Tensor>, learningRate: number, scale: number): void {
    const { beta1, beta2, epsilon, decay } = this.#options;
    this.#steps++;
    // m_hat / (sqrt(v_hat) + eps) with the corrections drawn out of the tensors.
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

  /** Takes over what {@link AdamW.state} gave. */
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
