import * as tf from "@tensorflow/tfjs";
import { beforeAll, describe, expect, test } from "vitest";

import { AdamW } from "../../src/training/adamw.ts";
import { dropoutAt } from "../../src/mlm/dropout.ts";
import { clippingScale, globalNorm } from "../../src/training/gradients.ts";
import { maskedLoss } from "../../src/mlm/loss.ts";
import { learningRateAt } from "../../src/training/schedule.ts";

beforeAll(async () => {
  tf.enableProdMode();
  await tf.setBackend("cpu");
});

/** The algorithm of the paper (Loshchilov & Hutter 2017, algorithm 2), one weight, float64. */
function reference(weight: number, gradients: readonly number[], rate: number, decay: number): number {
  const [beta1, beta2, epsilon] = [0.9, 0.98, 1e-8];
  let [w, m, v] = [weight, 0, 0];
  for (const [i, gradient] of gradients.entries()) {
    m = beta1 * m + (1 - beta1) * gradient;
    v = beta2 * v + (1 - beta2) * gradient ** 2;
    const [corrected, square] = [m / (1 - beta1 ** (i + 1)), v / (1 - beta2 ** (i + 1))];
    w -= (rate * corrected) / (Math.sqrt(square) + epsilon) + rate * decay * w;
  }
  return w;
}

function scalar(value: number): tf.Variable {
  return tf.variable(tf.tensor1d([value]));
}

function stepAtRandom(optimiser: AdamW, seed: number): void {
  tf.tidy(() => optimiser.step(new Map([["w", tf.randomNormal([7, 3], 0, 1, "float32", seed)]]), 0.01, 0.5));
}

function rates(schedule: "cosine" | "linear" | "constant"): number[] {
  return [0, 1, 2, 6, 10].map((step) => learningRateAt(step, { peak: 1, warmup: 2, schedule, steps: 10 }));
}

describe("AdamW", () => {
  test("takes the steps of the paper; only what decays decays; what must stay positive is stepped by its logarithm; each at its own rate", () => {
    const [a, b, c, d, e] = [scalar(0.7), scalar(0.7), scalar(1e-6), scalar(1.01e-3), scalar(0.7)];
    const optimiser = new AdamW(
      new Map([
        ["a", { variable: a, decays: true }],
        ["b", { variable: b, decays: false }],
        ["c", { variable: c, decays: false, least: 1e-12 }],
        ["d", { variable: d, decays: false, least: 1e-3 }],
        ["e", { variable: e, decays: true, scale: 3 }],
      ]),
    );
    const gradients = [0.3, -0.2, 1.5, 0.01, 0.4];
    for (const gradient of gradients) {
      const tensor = tf.tensor1d([gradient]);
      optimiser.step(
        new Map([
          ["a", tensor],
          ["b", tensor],
          ["c", tensor],
          ["d", tensor],
          ["e", tensor],
        ]),
        0.05,
        1,
      );
      tensor.dispose();
    }
    expect(a.dataSync()[0]).toBeCloseTo(reference(0.7, gradients, 0.05, 0.1), 6);
    expect(b.dataSync()[0]).toBeCloseTo(reference(0.7, gradients, 0.05, 0), 6);
    // Smaller than the learning rate, and still there.
    expect(Math.log(c.dataSync()[0]!)).toBeCloseTo(reference(Math.log(1e-6), gradients, 0.05, 0), 5);
    expect(d.dataSync()[0]).toBeCloseTo(1e-3, 9);
    expect(e.dataSync()[0]).toBeCloseTo(reference(0.7, gradients, 3 * 0.05, 0.1), 6);
    optimiser.dispose();
    tf.dispose([a, b, c, d, e]);
  });

  test("goes on from its state with the same bits, and keeps its memory", async () => {
    const variable = tf.variable(tf.randomNormal([7, 3], 0, 1, "float32", 1));
    const trained = new Map([["w", { variable, decays: true }]]);
    const first = new AdamW(trained);
    stepAtRandom(first, 2);
    stepAtRandom(first, 3);
    const [weights, state, tensors] = [variable.dataSync().slice(), await first.state(), tf.memory().numTensors];
    stepAtRandom(first, 4);
    expect(tf.memory().numTensors).toBe(tensors);
    const expected = variable.dataSync().slice();
    tf.tidy(() => variable.assign(tf.tensor(weights, [7, 3])));
    const second = new AdamW(trained);
    second.restore(state);
    stepAtRandom(second, 4);
    expect([...variable.dataSync()]).toEqual([...expected]);
    first.dispose();
    second.dispose();
    variable.dispose();
  });
});

test("the global norm, and what clips it", async () => {
  const tensors = [tf.tensor1d([3]), tf.tensor2d([[0, 4]]), tf.zeros([5])];
  expect(await globalNorm(tensors)).toBeCloseTo(5, 6);
  expect(clippingScale(5, 0.5)).toBeCloseTo(0.1, 12);
  expect(clippingScale(0.4, 0.5)).toBe(1);
  tf.dispose(tensors);
});

test("the loss is cross-entropy, and with a teacher the divergence to it", () => {
  const logits = tf.tensor2d([
    [1, 2, 3],
    [0, 0, Math.log(2)],
  ]);
  const targets = tf.tensor1d([2, 1], "int32");
  const total = Math.exp(1) + Math.exp(2) + Math.exp(3);
  const entropy = Math.log(total) - 3 + Math.log(4);
  expect(maskedLoss(logits, targets, undefined, 0).dataSync()[0]).toBeCloseTo(entropy, 5);
  // A teacher that agrees adds nothing; one that is certain of the targets adds the cross-entropy.
  expect(maskedLoss(logits, targets, logits, 0.25).dataSync()[0]).toBeCloseTo(0.75 * entropy, 5);
  const certain = tf.tensor2d([
    [0, 0, 50],
    [0, 50, 0],
  ]);
  expect(maskedLoss(logits, targets, certain, 1).dataSync()[0]).toBeCloseTo(entropy, 4);
});

test("dropout: a seeded share is dropped, the rest is scaled up, values differ", () => {
  const ones = tf.ones([100, 100]);
  const drop = (seed: number, at: string): number[] => [...dropoutAt(["a", "b"], 0.1, seed)[at]!(ones).dataSync()];
  const values = drop(1, "a");
  const dropped = values.filter((value) => value === 0).length;
  expect(Math.abs(dropped / 10_000 - 0.1)).toBeLessThan(5 * Math.sqrt(0.09 / 10_000));
  expect(values.every((value) => value === 0 || Math.abs(value - 1 / 0.9) < 1e-6)).toBe(true);
  expect(drop(1, "a")).toEqual(values);
  expect(drop(1, "b")).not.toEqual(values);
  expect(drop(2, "a")).not.toEqual(values);
  expect(dropoutAt(["a"], 0, 1)).toEqual({});
});

test("learning rates: warm-up, then cosine, linear or constant", () => {
  expect(rates("constant")).toEqual([0.5, 1, 1, 1, 1]);
  expect(rates("linear")).toEqual([0.5, 1, 1, 0.5, 0]);
  expect(rates("cosine").map((rate) => Number(rate.toFixed(6)))).toEqual([0.5, 1, 1, 0.5, 0]);
  expect(learningRateAt(0, { peak: 1, warmup: 0, schedule: "cosine", steps: 4 })).toBe(1);
});
