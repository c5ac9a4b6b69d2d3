import type { FeatureMapDescription } from "@favor/core";
import * as tf from "@tensorflow/tfjs";
import { describe, expect, it } from "vitest";
import { exactAttention, favorAttention, hybridAttention } from "../../src/index.ts";
import { onEveryBackend } from "@favor/test-support/backends";
import { hybridReference } from "./hybrid-samples.ts";
import { everyMap, gaussians, relativeError, sample, tensors } from "./samples.ts";
import type { Sample } from "./samples.ts";

// seven blocks of 6, the last one of 1
const shape = { batch: 2, heads: 3, length: 37, dim: 6, valueDim: 5 };
const inputs = sample(shape);
// the second sequence begins and ends with hidden keys, and block 3 of the first has none to show
const mask = Array.from({ length: 2 * 37 }, (_, i) => (i < 37 ? Number(i < 18 || i >= 24) : Number(i > 39 && i < 70)));
const exponential = [
  "positive",
  "hyperbolic",
  "dense-exponential",
  "calibrated",
  "landmark",
  "linear-exponential",
] as const;
const choosing = { window: 6, chosenBlocks: 2 };

const rows = (x: tf.Tensor): tf.Tensor => x.slice([0, 0, 0, 0], [1, -1, 25, -1]);

const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
};

onEveryBackend("hybridAttention", () => {
  const keyMask = (): tf.Tensor => tf.tensor2d(mask, [shape.batch, shape.length]);

  describe.each(exponential)("%s features", (name) => {
    it.each([
      ["bidirectional", false],
      ["causal", true],
    ] as const)("equal @favor/core in float64 with a mask, %s", (_, causal) => {
      for (const maps of [[everyMap(6, 16)[name]!], [0, 1, 2].map((head) => everyMap(6, 16, head)[name]!)]) {
        const featureMap = maps.length === 1 ? maps[0]! : maps;
        for (const exactKeys of [choosing, { window: 20, chosenBlocks: 1 }]) {
          const out = hybridAttention(...tensors(inputs, shape), { featureMap, exactKeys, mask: keyMask(), causal });
          const expected = hybridReference(inputs, shape, { exactKeys, maps, mask, causal });
          expect(relativeError(out.dataSync(), expected)).toBeLessThan(1e-5);
        }
      }
    });
  });

  const { positive, landmark } = everyMap(shape.dim, 16) as Record<string, FeatureMapDescription>;

  it("equals @favor/core without a far field, and in cross-attention", () => {
    for (const causal of [false, true]) {
      const out = hybridAttention(...tensors(inputs, shape), { exactKeys: choosing, mask: keyMask(), causal });
      const expected = hybridReference(inputs, shape, { exactKeys: choosing, maps: [], mask, causal });
      expect(relativeError(out.dataSync(), expected)).toBeLessThan(1e-5);
    }
    const [q, k, v] = tensors(inputs, shape);
    const queries = 20;
    const some = q.slice([0, 0, 4, 0], [2, 3, queries, 6]);
    const exactKeys = { ...choosing, near: false };
    for (const maps of [[], [positive!]]) {
      const out = hybridAttention(some, k, v, { exactKeys, featureMap: maps[0], mask: keyMask() });
      const crossed = { ...inputs, q: some.dataSync() as Float32Array };
      const expected = hybridReference(crossed, shape, { exactKeys, maps, mask, queries });
      expect(relativeError(out.dataSync(), expected)).toBeLessThan(1e-5);
    }
  });

  it("equals softmax if all keys are exact, and FAVOR if none is", () => {
    const three = tensors(inputs, shape);
    for (const causal of [false, true]) {
      const softmax = exactAttention(...three, { causal }).dataSync();
      for (const exactKeys of [{ window: 37 }, { window: 100, chosenBlocks: 3 }, { window: 6, chosenBlocks: 7 }]) {
        const out = hybridAttention(...three, { exactKeys, featureMap: positive, causal });
        expect(relativeError(out.dataSync(), softmax)).toBeLessThan(1e-5);
      }
      const favor = favorAttention(...three, { featureMap: landmark!, causal }).dataSync();
      const none = hybridAttention(...three, { exactKeys: { window: 0 }, featureMap: landmark, causal });
      expect(none.dataSync()).toEqual(favor);
    }
    const apart = hybridAttention(...three, { exactKeys: { window: 6, near: false }, featureMap: landmark });
    const favor = favorAttention(...three, { featureMap: landmark! }).dataSync();
    expect(relativeError(apart.dataSync(), favor)).toBeLessThan(1e-5);
  });

  it("neither over- nor underflows for keys of very different norms", () => {
    const small = { batch: 1, heads: 1, length: 70, dim: 6, valueDim: 5 };
    const wild = sample(small, 1, 7);
    wild.k.forEach((x, i) => (wild.k[i] = x * (1 + (i % 7)) * 4));
    for (const causal of [false, true]) {
      for (const featureMap of [everyMap(6, 16)["hyperbolic"]!, landmark!]) {
        const out = hybridAttention(...tensors(wild, small), { exactKeys: choosing, featureMap, causal });
        const expected = hybridReference(wild, small, { exactKeys: choosing, maps: [featureMap], causal });
        expect(relativeError(out.dataSync(), expected)).toBeLessThan(1e-3);
      }
    }
  });

  it("a hidden key and its value have no effect, whatever they hold", () => {
    const spoiled = { ...inputs, k: inputs.k.slice(), v: inputs.v.slice() };
    for (let row = 0; row < 2 * 3 * 37; row++) {
      if (mask[Math.floor(row / (3 * 37)) * 37 + (row % 37)] === 1) continue;
      spoiled.k.fill(1e20, row * shape.dim, (row + 1) * shape.dim);
      spoiled.v.fill(NaN, row * shape.valueDim, (row + 1) * shape.valueDim);
    }
    for (const causal of [false, true]) {
      const options = { featureMap: positive!, exactKeys: choosing, mask: keyMask(), causal };
      const clean = hybridAttention(...tensors(inputs, shape), options).dataSync();
      expect(hybridAttention(...tensors(spoiled, shape), options).dataSync()).toEqual(clean);
    }
  });

  it("padding and other sequences of the batch change nothing, and a query that sees no key gives 0", () => {
    const [q, k, v] = tensors(inputs, shape);
    const shown = tf.concat([tf.ones([1, 25]), tf.zeros([1, 12])], 1);
    for (const causal of [false, true]) {
      const options = { featureMap: positive!, exactKeys: choosing, causal };
      const alone = hybridAttention(rows(q), rows(k), rows(v), options).dataSync();
      const both = tf.concat([shown, tf.zeros([1, 37])]);
      const padded = hybridAttention(q, k, v, { ...options, mask: both });
      expect(relativeError(rows(padded).dataSync(), alone)).toBeLessThan(1e-5);
      expect(tf.max(tf.abs(padded.slice([1, 0, 0, 0], [1, -1, -1, -1]))).dataSync()[0]).toBe(0);
    }
  });

  it("in causal attention, later keys and queries change no bit", () => {
    const from = 20;
    const later: Sample = { q: inputs.q.slice(), k: inputs.k.slice(), v: inputs.v.slice() };
    for (let group = 0; group < 6; group++) {
      const [row, end] = [group * 37 + from, (group + 1) * 37];
      for (let i = row * shape.dim; i < end * shape.dim; i++) {
        later.k[i]! *= 20;
        later.q[i]! *= -3;
      }
      for (let i = row * shape.valueDim; i < end * shape.valueDim; i++) later.v[i]! += 9;
    }
    const options = { featureMap: positive!, exactKeys: choosing, causal: true };
    const head = (x: Sample): ArrayLike<number> =>
      hybridAttention(...tensors(x, shape), options)
        .slice([0, 0, 0, 0], [-1, -1, from, -1])
        .dataSync();
    expect(head(later)).toEqual(head(inputs));
  });
});

onEveryBackend("gradients of hybridAttention", (backend) => {
  const small = { batch: 2, heads: 2, length: 23, dim: 4, valueDim: 3 };
  const few = sample(small, 0.7);
  const upstream = gaussians(small.batch * small.heads * small.length * small.valueDim, 31);
  const shown = Array.from({ length: small.batch * small.length }, (_, i) => Number(i % 5 !== 4 && i > 1));
  const dy = (): tf.Tensor => tf.tensor(upstream, [small.batch, small.heads, small.length, small.valueDim]);

  describe.each([...exponential, "none"])("%s features", (name) => {
    it.each([false, true])("equal differences of @favor/core in float64; causal: %s", (causal) => {
      const featureMap = everyMap(small.dim, 8)[name];
      const exactKeys = { window: 3, chosenBlocks: 2 };
      const options = { exactKeys, featureMap, causal, mask: tf.tensor2d(shown, [small.batch, small.length]) };
      const gradients = tf.grads((q, k, v) => hybridAttention(q!, k!, v!, options))(tensors(few, small), dy());
      for (const [i, side] of (["q", "k", "v"] as const).entries()) {
        const direction = gaussians(few[side].length, 50 + i);
        const at = (t: number): number => {
          const moved = { ...few, [side]: Float64Array.from(few[side], (x, l) => x + t * direction[l]!) };
          const maps = featureMap ? [featureMap] : [];
          return dot(upstream, hybridReference(moved, small, { exactKeys, maps, causal, mask: shown }));
        };
        const step = 1e-5;
        const expected = (at(step) - at(-step)) / (2 * step);
        expect(Math.abs(dot(gradients[i]!.dataSync(), direction) - expected)).toBeLessThan(
          2e-3 * (1 + Math.abs(expected)),
        );
      }
    });
  });

  it.each(["positive", "hyperbolic", "dense-exponential", "calibrated"])("reach a projection: %s", (name) => {
    const featureMap = everyMap(small.dim, 8)[name]!;
    const [q, k, v] = tensors(few, small);
    const size = 2 * 8 * small.dim;
    for (const causal of [false, true]) {
      const f = (projection: tf.Tensor): tf.Tensor =>
        hybridAttention(q, k, v, { featureMap, exactKeys: { window: 3, chosenBlocks: 1 }, causal, projection });
      const projection = tf.tensor(gaussians(size, 71), [2, 8, small.dim]);
      const direction = tf.tensor(gaussians(size, 72, 0.1), [2, 8, small.dim]);
      const actual = tf.sum(tf.mul(tf.grad(f)(projection, dy()), direction)).dataSync()[0]!;
      const at = (t: number): number => dot(upstream, f(tf.add(projection, tf.mul(direction, t))).dataSync());
      const expected = (at(2 ** -5) - at(-(2 ** -5))) * 2 ** 4;
      expect(Math.abs(actual - expected)).toBeLessThan(5e-3 * (1 + Math.abs(expected)));
    }
  });

  it("the projection that a description draws, given as a tensor, changes nothing", async () => {
    const { drawProjection } = await import("@favor/core");
    for (const featureMap of Object.values(everyMap(small.dim, 8))) {
      if (!("projection" in featureMap) || /trig|generalized/.test(featureMap.kind)) continue;
      const projection = tf.tensor2d(Float32Array.from(drawProjection(featureMap.projection)), [8, small.dim]);
      const options = { featureMap, exactKeys: { window: 3 } };
      const out = hybridAttention(...tensors(few, small), { ...options, projection });
      const expected = hybridAttention(...tensors(few, small), options);
      expect(tf.max(tf.abs(tf.sub(out, expected))).dataSync()[0]).toBeLessThan(1e-5);
    }
  });

  // at these lengths, cpu takes a minute
  it.runIf(backend === "wasm")("take memory in proportion to the length, and leave nothing behind", async () => {
    const options = { exactKeys: { window: 16, chosenBlocks: 2 }, featureMap: everyMap(4, 8)["positive"]! };
    const peak = async (length: number): Promise<number> => {
      const size = { batch: 1, heads: 1, length, dim: 4, valueDim: 4 };
      const three = tensors(sample(size), size);
      const before = tf.memory().numBytes;
      const tensorsBefore = tf.memory().numTensors;
      const { peakBytes } = await tf.profile(() =>
        tf.tidy(() => {
          tf.grads((q, k, v) => tf.sum(hybridAttention(q!, k!, v!, options)))(three);
          return tf.scalar(0);
        }),
      );
      // the profiled function's own result
      expect(tf.memory().numTensors - tensorsBefore).toBe(1);
      tf.dispose(three);
      return peakBytes - before;
    };
    const [short, long] = [await peak(2048), await peak(8192)];
    expect(long / short).toBeLessThan(4.4);
  });
});

describe("arguments of hybridAttention", () => {
  const [q, k, v] = tensors(inputs, shape);
  const featureMap = everyMap(6, 16)["positive"]!;
  const wrong = (options: object, argument: string, code = "invalid-argument"): void => {
    expect(() => hybridAttention(q, k, v, { exactKeys: { window: 6 }, featureMap, ...options })).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(argument) }),
    );
  };

  it("are refused by name", () => {
    wrong({ exactKeys: undefined }, "exactKeys");
    wrong({ exactKeys: { window: 1.5 } }, "exactKeys.window");
    wrong({ exactKeys: { window: 6, chosenBlocks: -1 } }, "exactKeys.chosenBlocks");
    wrong({ exactKeys: { window: 0, chosenBlocks: 1 } }, "exactKeys.window");
    wrong({ exactKeys: { window: 6, chosen: 1 } }, "exactKeys.chosen", "unknown-option");
    wrong({ exactKeys: { window: 6, near: false }, causal: true }, "exactKeys.near");
    wrong({ exactKeys: { window: 6, near: false }, featureMap: undefined }, "featureMap");
    wrong({ featureMap: everyMap(6, 16)["trigonometric pair"] }, "kind");
    wrong({ featureMap: everyMap(4, 16)["positive"] }, "featureMap");
    wrong({ queryMask: tf.ones([2, 5]) }, "queryMask");
    wrong({ mask: tf.ones([2, 37, 37]) }, "mask");
    expect(() => hybridAttention(q.slice([0, 0, 0, 0], [2, 3, 5, 6]), k, v, { exactKeys: { window: 6 } })).toThrow(
      /near/,
    );
  });
});
