import type { PositiveDescription } from "@favor/core";
import * as tf from "@tensorflow/tfjs";
import { describe, expect, it } from "vitest";
import { exactAttention, favorAttention } from "../../src/index.ts";
import { onEveryBackend } from "@favor/test-support/backends";
import { everyMap, gaussians, reference, sample, tensors } from "./samples.ts";
import type { Sample } from "./samples.ts";

const shape = { batch: 2, heads: 2, length: 19, dim: 4, valueDim: 3 };
const mask = Array.from({ length: shape.batch * shape.length }, (_, i) => (i % 5 === 4 ? 0 : 1));
// small enough that no trigonometric normaliser comes near 0
const inputs = sample(shape, 0.4);
const upstream = gaussians(shape.batch * shape.heads * shape.length * shape.valueDim, 31);

const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
};

/** d/dt of upstream . attention(inputs + t direction in one of them), by @favor/core in float64. */
function differenceQuotient(name: keyof Sample, direction: Float32Array, f: (at: Sample) => Float64Array): number {
  const step = 1e-5;
  const moved = (t: number): Sample => ({
    ...inputs,
    [name]: Float64Array.from(inputs[name], (x, i) => x + t * direction[i]!),
  });
  return (dot(upstream, f(moved(step))) - dot(upstream, f(moved(-step)))) / (2 * step);
}

onEveryBackend("gradients of favorAttention", () => {
  describe.each(Object.entries(everyMap(shape.dim, 8)))("%s features", (_name, featureMap) => {
    it.each([false, true])("equal differences of @favor/core in float64; causal: %s", (causal) => {
      const dy = tf.tensor(upstream, [shape.batch, shape.heads, shape.length, shape.valueDim]);
      const keyMask = tf.tensor2d(mask, [shape.batch, shape.length]);
      const attend = tf.grads((q, k, v) => favorAttention(q!, k!, v!, { featureMap, causal, mask: keyMask }));
      const gradients = attend(tensors(inputs, shape), dy);
      for (const [i, name] of (["q", "k", "v"] as const).entries()) {
        const direction = gaussians(inputs[name].length, 50 + i);
        const actual = dot(gradients[i]!.dataSync(), direction);
        const expected = differenceQuotient(name, direction, (at) =>
          reference(at, shape, [featureMap], { mask, causal }),
        );
        expect(Math.abs(actual - expected)).toBeLessThan(2e-3 * (1 + Math.abs(expected)));
      }
    });
  });

  const trainable = [
    "positive",
    "hyperbolic",
    "oprf",
    "dense-exponential",
    "calibrated",
    "trigonometric phase",
    "generalized gelu",
  ];
  it.each(trainable)("reach a trainable projection: %s, per head and shared", (name) => {
    const featureMap = everyMap(shape.dim, 8)[name]!;
    const dy = tf.tensor(upstream, [shape.batch, shape.heads, shape.length, shape.valueDim]);
    const [q, k, v] = tensors(inputs, shape);
    for (const projectionShape of [
      [8, 4],
      [2, 8, 4],
    ]) {
      for (const causal of [false, true]) {
        const size = tf.util.sizeFromShape(projectionShape);
        const projection = tf.tensor(gaussians(size, 71), projectionShape);
        const f = (w: tf.Tensor): tf.Tensor => favorAttention(q, k, v, { featureMap, causal, projection: w });
        const direction = tf.tensor(gaussians(size, 72, 0.1), projectionShape);
        const actual = tf.sum(tf.mul(tf.grad(f)(projection, dy), direction)).dataSync()[0]!;
        const at = (t: number): number => dot(upstream, f(tf.add(projection, tf.mul(direction, t))).dataSync());
        const expected = (at(2 ** -5) - at(-(2 ** -5))) * 2 ** 4;
        expect(Math.abs(actual - expected)).toBeLessThan(5e-3 * (1 + Math.abs(expected)));
      }
    }
  });

  it("the projection that a description draws, given as a tensor, changes nothing", async () => {
    const { drawProjection } = await import("@favor/core");
    for (const featureMap of Object.values(everyMap(shape.dim, 8))) {
      if (!("projection" in featureMap)) continue;
      const projection = tf.tensor2d(Float32Array.from(drawProjection(featureMap.projection)), [8, 4]);
      const out = favorAttention(...tensors(inputs, shape), { featureMap, projection });
      const expected = favorAttention(...tensors(inputs, shape), { featureMap });
      expect(tf.max(tf.abs(tf.sub(out, expected))).dataSync()[0]).toBeLessThan(1e-5);
    }
  });

  it("work inside a larger differentiated function, and inside minimize", () => {
    const featureMap = everyMap(4, 8)["positive"]!;
    const [q, k, v] = tensors(inputs, shape);
    const weight = tf.variable(tf.tensor2d(gaussians(16, 3), [4, 4]));
    const loss = (): tf.Scalar => {
      const projected = tf.reshape(tf.matMul(tf.reshape(q, [-1, 4]), weight), q.shape);
      return tf.mean(tf.square(favorAttention(projected, k, v, { featureMap, causal: true })));
    };
    const optimizer = tf.train.sgd(0.5);
    const first = loss().dataSync()[0]!;
    for (let step = 0; step < 5; step++) tf.tidy(() => void optimizer.minimize(loss));
    expect(loss().dataSync()[0]).toBeLessThan(first);
    weight.dispose();
  });
});

type Attend = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) => tf.Tensor;

/** The most bytes held at once during a forward and a backward pass, by tfjs' own count, less those before it. */
async function peakBytes(length: number, attend: Attend): Promise<number> {
  const size = { batch: 1, heads: 1, length, dim: 16, valueDim: 16 };
  const three = tensors(sample(size), size);
  const before = tf.memory().numBytes;
  const profile = await tf.profile(() =>
    tf.tidy(() => {
      tf.grads((q, k, v) => tf.sum(attend(q!, k!, v!)))(three);
      return tf.scalar(0);
    }),
  );
  tf.dispose(three);
  return profile.peakBytes - before;
}

onEveryBackend("memory of a forward and a backward pass", () => {
  const featureMap: PositiveDescription = {
    version: 1,
    kind: "positive",
    projection: { kind: "orthogonal", count: 32, dim: 16, seed: 1 },
  };

  it("is linear in the length for FAVOR, bidirectional and causal, and quadratic for softmax", async () => {
    const exact = await peakBytes(1024, exactAttention);
    expect(exact / (await peakBytes(256, exactAttention))).toBeGreaterThan(12);
    for (const causal of [false, true]) {
      const favor: Attend = (q, k, v) => favorAttention(q, k, v, { featureMap, causal });
      const [short, long] = [await peakBytes(1024, favor), await peakBytes(4096, favor)];
      expect(long / short).toBeLessThan(4.4);
      // softmax at 4 times the length takes 16 times as much
      expect(long).toBeLessThan((16 * exact) / 15);
    }
  });

  it("between the passes no features are alive", () => {
    const length = 1024;
    const size = { batch: 1, heads: 1, length, dim: 16, valueDim: 16 };
    const three = tensors(sample(size), size);
    function aliveAfterForward(count: number): number {
      const wider: PositiveDescription = { ...featureMap, projection: { ...featureMap.projection, count } };
      let alive = 0;
      tf.tidy(() => {
        const before = tf.memory().numBytes;
        tf.grads((q, k, v) => {
          const out = favorAttention(q!, k!, v!, { featureMap: wider });
          alive = tf.memory().numBytes - before;
          return out;
        })(three);
      });
      return alive;
    }
    // with M grow the arrays of the map and the sums, not a tensor [length, M]
    expect(aliveAfterForward(256) - aliveAfterForward(32)).toBeLessThan(0.5 * length * (256 - 32) * 4);
    tf.dispose(three);
  });
});
