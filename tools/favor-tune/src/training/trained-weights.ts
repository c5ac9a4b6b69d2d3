import type { OnnxModel } from "@favor/onnx-tfjs";
import * as tf from "@tensorflow/tfjs";

import { isPositive } from "../model/feature-initializers.ts";
import { AdamW } from "./adamw.ts";
import type { AdamWOptions, TrainedVariable } from "./adamw.ts";
import { clippingScale, globalNorm } from "./gradients.ts";
import type { NamedTensors } from "./stage.ts";

/** Lower bound for cores and feature weights, which must not become zero. It has no noticeable effect. */
const leastPositive = 1e-12;

export interface TrainedWeightsOptions extends Pick<AdamWOptions, "decay" | "epsilon"> {
  /** Largest global norm of the gradients; larger ones are scaled down. */
  readonly clip: number;
}

/** The initializers of a loaded model that a stage trains, with their optimiser. */
export class TrainedWeights {
  /** What gradients are taken of. */
  readonly variables: readonly tf.Variable[];
  readonly #trained: ReadonlyMap<string, TrainedVariable>;
  /** Names of the initializers by those of their variables. */
  readonly #names: ReadonlyMap<string, string>;
  readonly #optimiser: AdamW;
  readonly #clip: number;

  /** @param chosen - names of the initializers, and whether weight decay applies to each. */
  constructor(model: OnnxModel, chosen: ReadonlyMap<string, boolean>, { clip, ...options }: TrainedWeightsOptions) {
    const trained = new Map<string, TrainedVariable>();
    const seen = new Set<tf.Variable>();
    for (const [name, variable] of model.variables()) {
      // Tied initializers share a variable, which must be stepped only once.
      if (!chosen.has(name) || seen.has(variable)) continue;
      seen.add(variable);
      const positive = isPositive(name) ? { least: leastPositive } : {};
      trained.set(name, { variable, decays: chosen.get(name)!, ...positive });
    }
    this.variables = [...seen];
    this.#trained = trained;
    this.#names = new Map([...trained].map(([name, { variable }]) => [variable.name, name]));
    this.#optimiser = new AdamW(trained, options);
    this.#clip = clip;
  }

  /** Gradients by initializer, of gradients by variable as `tf.variableGrads` gives them. */
  byInitializer(gradients: tf.NamedTensorMap): Record<string, tf.Tensor> {
    return Object.fromEntries(
      Object.entries(gradients).map(([variable, gradient]) => [this.#names.get(variable)!, gradient]),
    );
  }

  /**
   * Makes one step of the optimiser.
   *
   * @param gradients - by initializer; those of what must stay positive are replaced by those of its logarithm, which
   * is stepped: dL/d(log x) = x dL/dx.
   * @returns false if a gradient is not finite, in which case no step is made.
   */
  async step(gradients: Map<string, tf.Tensor>, learningRate: number): Promise<boolean> {
    for (const [name, { variable, least }] of this.#trained) {
      const gradient = gradients.get(name);
      if (gradient === undefined || least === undefined) continue;
      gradients.set(name, tf.mul(gradient, variable));
      gradient.dispose();
    }
    const norm = await globalNorm(gradients.values());
    if (!Number.isFinite(norm)) return false;
    this.#optimiser.step(gradients, learningRate, clippingScale(norm, this.#clip));
    return true;
  }

  /** Current values by initializer. */
  async weights(): Promise<NamedTensors> {
    const weights = new Map<string, Float32Array>();
    for (const [name, { variable }] of this.#trained) weights.set(name, (await variable.data()) as Float32Array);
    return weights;
  }

  /** The optimiser's moments. */
  async state(): Promise<NamedTensors> {
    return this.#optimiser.state();
  }

  /** Restores {@link TrainedWeights.state}. */
  restore(state: NamedTensors): void {
    this.#optimiser.restore(state);
  }

  dispose(): void {
    this.#optimiser.dispose();
  }
}

/** The state of a stage that trains a model: its weights and the optimiser's moments. */
export async function modelState(trained: TrainedWeights, weights: NamedTensors): Promise<NamedTensors> {
  return new Map([
    ...[...(await trained.state())].map(([name, values]) => [`optimiser/${name}`, values] as const),
    ...[...weights].map(([name, values]) => [`weight/${name}`, values] as const),
  ]);
}

/** Restores {@link modelState}. */
export function restoreModel(model: OnnxModel, trained: TrainedWeights, state: NamedTensors): void {
  const under = (prefix: string): Map<string, Float32Array> =>
    new Map(
      [...state].flatMap(([name, values]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), values]] : [])),
    );
  trained.restore(under("optimiser/"));
  for (const [name, values] of under("weight/")) model.assign(name, values);
}
