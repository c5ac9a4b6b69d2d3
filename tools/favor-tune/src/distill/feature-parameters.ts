import { tensorValues } from "@favor/onnx";
import type { TensorProto } from "@favor/onnx";
import * as tf from "@tensorflow/tfjs";

import { AdamW } from "../training/adamw.ts";
import type { AdamWOptions } from "../training/adamw.ts";
import { clippingScale, globalNorm } from "../training/gradients.ts";
import type { NamedTensors } from "../training/stage.ts";
import { isPositive } from "../model/feature-initializers.ts";
import type { Student } from "./student.ts";

/** Smallest scale of a tensor, so that values near zero can still learn. */
const leastScale = 0.1;

/** Initial value of zeros in a core: negligible compared with its largest entry, which is 1 after conversion. */
const leastValue = 1e-30;

/**
 * The parameters that Adam trains for one site. Cores and feature weights must stay positive, and their entries differ by
 * orders of magnitude. Their logarithms are trained, so that a step changes every entry in proportion and none reaches
 * zero. (Clamped steps would wipe out entries smaller than the learning rate.) Everything else is trained directly, with
 * steps of the learning rate times the root mean square of its initial values (Shazeer & Stern 2018, "Adafactor",
 * section 8). Then a step has the same effect wherever the conversion folded d^(-1/4).
 */
export class FeatureParameters {
  readonly #student: Student;
  /** Trained logarithms, by initializer. */
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
   * Makes one step of Adam. If the norm of the joint gradient exceeds `clip`, it is scaled down.
   *
   * @param gradients - gradients of the values, by initializer; disposed of.
   * @returns false if a gradient is not finite, in which case no step is made.
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

  /** Restores a {@link FeatureParameters.state}. Values without a logarithm are restored by the student. */
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

  /** Updates the student's values from the logarithms. */
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
