import { tensorValues } from "@favor/onnx";
import type { TensorProto } from "@favor/onnx";
import * as tf from "@tensorflow/tfjs";

import { AdamW } from "../training/adamw.ts";
import type { AdamWOptions } from "../training/adamw.ts";
import { clippingScale, globalNorm } from "../training/gradients.ts";
import type { NamedTensors } from "../training/stage.ts";
import { isPositive } from "../model/feature-initializers.ts";
import type { Student } from "./student.ts";

/** Of a tensor whose values are near zero, which has to learn all the same. */
const leastScale = 0.1;

/** A zero of a core begins here: nothing beside the largest entry, which is 1 when the conversion writes it. */
const leastValue = 1e-30;

/**
 * What Adam moves for one site. Cores and feature weights must stay positive, and their entries differ by orders of
 * magnitude: their logarithms learn, so that a step changes every entry by a share of itself and none reaches zero.
 * (Clamped steps would wipe out all entries smaller than the learning rate.) Everything else learns as it is, by steps of
 * the learning rate times the root mean square of its first values (Shazeer & Stern 2018, "Adafactor", section 8): what a
 * step does is then the same whether the conversion put d^(-1/4) into a projection, or a matrix before it.
 */
export class FeatureParameters {
  readonly #student: Student;
  /** Logarithms, by initializer. */
  readonly #logs: ReadonlyMap<string, tf.Variable>;
  readonly #adam: AdamW;

  constructor(student: Student, options: AdamWOptions) {
    this.#student = student;
    const positive = [...student.variables].filter(([name]) => isPositive(name));
    this.#logs = new Map(positive.map(([name, values]) => [name, logarithmOf(values)]));
    const learned = student.site.trainable.map((tensor) => {
      const log = this.#logs.get(tensor.name);
      const variable = log ?? student.variables.get(tensor.name)!;
      return [tensor.name, { variable, decays: false, scale: log === undefined ? scaleOf(tensor) : 1 }] as const;
    });
    this.#adam = new AdamW(new Map(learned), options);
  }

  /**
   * One step of Adam, the joint gradient scaled down to `clip` where it is longer.
   *
   * @param gradients - for the values, by initializer; disposed of.
   * @returns whether the step was made: not where a gradient is not finite.
   */
  async step(gradients: ReadonlyMap<string, tf.Tensor>, learningRate: number, clip: number): Promise<boolean> {
    const chained = new Map<string, tf.Tensor>();
    for (const [name, gradient] of gradients) {
      // d/d(log x) = x d/dx
      chained.set(name, this.#logs.has(name) ? tf.mul(gradient, this.#student.variables.get(name)!) : gradient);
    }
    const norm = await globalNorm(chained.values());
    const isFinite = Number.isFinite(norm);
    if (isFinite) {
      this.#adam.step(chained, learningRate, clippingScale(norm, clip));
      this.#takeOver();
    }
    tf.dispose([...gradients.values(), ...chained.values()]);
    return isFinite;
  }

  /** The optimiser's moments and the logarithms. */
  async state(): Promise<NamedTensors> {
    const state = new Map(await this.#adam.state());
    for (const [name, log] of this.#logs) state.set(`log/${name}`, (await log.data()) as Float32Array);
    return state;
  }

  /** Takes over what {@link FeatureParameters.state} gave; the values that are no logarithms are the student's. */
  restore(state: NamedTensors): void {
    this.#adam.restore(state);
    tf.tidy(() => {
      for (const [name, log] of this.#logs) log.assign(tf.tensor(state.get(`log/${name}`)!.slice(), log.shape));
    });
  }

  dispose(): void {
    this.#adam.dispose();
    tf.dispose([...this.#logs.values()]);
  }

  /** The student computes with the values. */
  #takeOver(): void {
    tf.tidy(() => {
      for (const [name, log] of this.#logs) this.#student.variables.get(name)!.assign(tf.exp(log));
    });
  }
}

function scaleOf(tensor: TensorProto): number {
  const values = Float64Array.from(tensorValues(tensor).data as Float32Array);
  const meanSquare = values.reduce((sum, value) => sum + value * value, 0) / values.length;
  return Math.max(leastScale, Math.sqrt(meanSquare));
}

function logarithmOf(values: tf.Tensor): tf.Variable {
  return tf.tidy(() => tf.variable(tf.log(tf.maximum(values, leastValue))));
}
