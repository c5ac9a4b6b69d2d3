import type { FeatureMapDescription } from "@favor/core";
import * as tf from "@tensorflow/tfjs";
import { describe, expect, it } from "vitest";
import { favorAttention, hybridAttention } from "../../src/index.ts";
import { onEveryBackend } from "@favor/test-support/backends";
import { everyMap, gaussians, reference, relativeError, sample, tensors } from "./samples.ts";
import type { Sample } from "./samples.ts";

type Attend = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) => tf.Tensor;

const shapeOf = (dim: number) => ({ batch: 1, heads: 1, length: 24, dim, valueDim: 3 });
const isFinite = (x: tf.Tensor): boolean => x.dataSync().every((value) => Number.isFinite(value));

/** The standard deviations for which the output is finite and a gradient is not. */
function scalesWithoutGradients(dim: number, attend: Attend): number[] {
  const shape = shapeOf(dim);
  return [1e-9, 1, 6, 8, 10, 30, 100].filter((scale) =>
    tf.tidy(() => {
      const three = tensors(sample(shape, scale), shape);
      if (!isFinite(attend(...three))) return false;
      return !tf
        .grads((q, k, v) => attend(q!, k!, v!))(three)
        .every(isFinite);
    }),
  );
}

onEveryBackend("gradients at any scale of the inputs are finite where the output is", () => {
  const dims = [4, 64];
  it.each(Object.keys(everyMap(4, 16)))("favorAttention, %s features", (name) => {
    for (const dim of dims) {
      const featureMap = everyMap(dim, 16)[name]!;
      for (const causal of [false, true]) {
        expect(
          scalesWithoutGradients(dim, (q, k, v) => favorAttention(q, k, v, { featureMap, causal })),
          `dim ${dim}, causal ${causal}`,
        ).toEqual([]);
      }
    }
  });

  it.each(["positive", "hyperbolic", "landmark"])("hybridAttention, %s features", (name) => {
    const exactKeys = { window: 4, chosenBlocks: 1 };
    for (const dim of dims) {
      const featureMap = everyMap(dim, 16)[name]!;
      for (const causal of [false, true]) {
        expect(
          scalesWithoutGradients(dim, (q, k, v) => hybridAttention(q, k, v, { featureMap, causal, exactKeys })),
          `dim ${dim}, causal ${causal}`,
        ).toEqual([]);
      }
    }
  });
});

const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
};

onEveryBackend("attention of inputs of standard deviation 10 at dim 64", () => {
  const shape = shapeOf(64);
  const inputs = sample(shape, 10);

  describe.each(["positive", "hyperbolic", "oprf", "dense-exponential", "generalized exp", "elu"])(
    "%s features",
    (name) => {
      const featureMap = everyMap(shape.dim, 16)[name]!;
      it("equals @favor/core in float64, though no feature of most keys is a float32", () => {
        const out = favorAttention(...tensors(inputs, shape), { featureMap });
        // exponents of some 400 have an error of 3e-5 in float32
        expect(relativeError(out.dataSync(), reference(inputs, shape, [featureMap]))).toBeLessThan(2e-3);
      });
    },
  );

  it("has the gradients of @favor/core's differences, causal at standard deviation 6", () => {
    for (const [causal, scale] of [
      [false, 10],
      [true, 6],
    ] as const) {
      const given = sample(shape, scale);
      const featureMap = everyMap(shape.dim, 16)["hyperbolic"]!;
      const upstream = gaussians(shape.length * shape.valueDim, 31);
      const dy = tf.tensor(upstream, [1, 1, shape.length, shape.valueDim]);
      const gradients = tf.grads((q, k, v) => favorAttention(q!, k!, v!, { featureMap, causal }))(
        tensors(given, shape),
        dy,
      );
      for (const [i, name] of (["q", "k", "v"] as const).entries()) {
        const direction = gaussians(given[name].length, 50 + i);
        const at = (t: number): number => {
          const moved: Sample = { ...given, [name]: Float64Array.from(given[name], (x, l) => x + t * direction[l]!) };
          return dot(upstream, reference(moved, shape, [featureMap], { causal }));
        };
        const expected = (at(1e-6) - at(-1e-6)) / 2e-6;
        const actual = dot(gradients[i]!.dataSync(), direction);
        expect(Math.abs(actual - expected)).toBeLessThan(1e-2 * (1 + Math.abs(expected)));
      }
    }
  });
});

onEveryBackend("rows of causal attention", () => {
  it("are right, or 0 where the normaliser has lost its digits", () => {
    const shape = { batch: 1, heads: 1, length: 400, dim: 64, valueDim: 1 };
    let [right, lost, largestError] = [0, 0, 0];
    for (const [scale, seed] of [8, 10, 12].flatMap((each) => [1, 2].map((at) => [each, at] as const))) {
      const inputs = sample(shape, scale, seed);
      const featureMap = everyMap(shape.dim, 16)["positive"]!;
      const out = favorAttention(...tensors(inputs, shape), { featureMap, causal: true }).dataSync();
      const expected = reference(inputs, shape, [featureMap], { causal: true });
      const errors = Array.from(out, (value, row) => Math.abs(value - expected[row]!)).filter(
        (_, row) => out[row] !== 0,
      );
      right += errors.length;
      lost += out.length - errors.length;
      largestError = Math.max(largestError, ...errors);
    }
    expect(largestError).toBeLessThan(5e-3);
    expect(right).toBeGreaterThan(100);
    expect(lost).toBeGreaterThan(10);
  });
});

onEveryBackend("features that are exponentials of something else", () => {
  it.each([false, true])("exp of standard deviation 30 at dim 16 overflows nowhere; causal: %s", (causal) => {
    const shape = shapeOf(16);
    const inputs = sample(shape, 30);
    for (const epsilon of [0, 1e-3]) {
      const featureMap = { ...everyMap(16, 16)["generalized exp"]!, epsilon } as FeatureMapDescription;
      const out = favorAttention(...tensors(inputs, shape), { featureMap, causal }).dataSync();
      const expected = reference(inputs, shape, [featureMap], { causal });
      const kept = (x: ArrayLike<number>): number[] => Array.from(x, (value, i) => (out[i] === 0 ? 0 : value));
      expect(out.filter((value) => value === 0).length).toBeLessThan(causal ? 36 : 1);
      expect(relativeError(out, kept(expected))).toBeLessThan(2e-3);
    }
  });

  it.each([false, true])("elu keeps its digits for rows far below 0; causal: %s", (causal) => {
    const shape = shapeOf(4);
    const inputs = sample(shape);
    const featureMap = everyMap(4, 16)["elu"]!;
    for (const below of [10, 20, 40]) {
      const moved = { ...inputs, q: inputs.q.map((x) => x - below), k: inputs.k.map((x) => x - below) };
      const out = favorAttention(...tensors(moved, shape), { featureMap, causal }).dataSync();
      expect(relativeError(out, reference(moved, shape, [featureMap], { causal }))).toBeLessThan(1e-4);
    }
  });
});
