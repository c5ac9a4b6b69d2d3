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

  describe.each(["positive", "hyperbolic", "oprf", "dense-exponential"])("%s features", (name) => {
    const featureMap = everyMap(shape.dim, 16)[name]!;
    it("equals @favor/core in float64, though no feature of most keys is a float32", () => {
      const out = favorAttention(...tensors(inputs, shape), { featureMap });
      // exponents of some 400 have an error of 3e-5 in float32
      expect(relativeError(out.dataSync(), reference(inputs, shape, [featureMap]))).toBeLessThan(2e-3);
    });
  });

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
