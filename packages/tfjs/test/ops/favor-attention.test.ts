import type { FeatureMapDescription } from "@favor/core";
import * as tf from "@tensorflow/tfjs";
import { describe, expect, it } from "vitest";
import { favorAttention } from "../../src/index.ts";
import { onEveryBackend } from "@favor/test-support/backends";
import { everyMap, reference, relativeError, sample, tensors } from "./samples.ts";

const shape = { batch: 2, heads: 3, length: 37, dim: 6, valueDim: 5 };
const mask = Array.from({ length: shape.batch * shape.length }, (_, i) => (i % 37 < 30 || i > 37 ? 1 : 0));
const inputs = sample(shape);

const pad = (x: tf.Tensor): tf.Tensor =>
  tf.pad(
    x,
    [
      [0, 0],
      [0, 0],
      [0, 11],
      [0, 0],
    ],
    3,
  );

onEveryBackend("favorAttention", () => {
  const keyMask = (): tf.Tensor => tf.tensor2d(mask, [shape.batch, shape.length]);

  describe.each(Object.entries(everyMap(shape.dim, 16)))("%s features", (name, featureMap) => {
    // trigonometric normalisers of larger inputs come near 0, where every rounding counts a thousand times
    const fitting = name.startsWith("trigonometric") ? sample(shape, 0.4) : inputs;
    it("equal @favor/core in float64, bidirectional and causal, with a mask", () => {
      for (const causal of [false, true]) {
        const out = favorAttention(...tensors(fitting, shape), { featureMap, mask: keyMask(), causal });
        expect(out.shape).toEqual([2, 3, 37, 5]);
        const expected = reference(fitting, shape, [featureMap], { mask, causal });
        expect(relativeError(out.dataSync(), expected)).toBeLessThan(1e-5);
      }
    });

    it("equal @favor/core with one map per head", () => {
      const maps = [0, 1, 2].map((head) => everyMap(shape.dim, 16, head)[name]!);
      for (const causal of [false, true]) {
        const out = favorAttention(...tensors(fitting, shape), { featureMap: maps, causal });
        expect(relativeError(out.dataSync(), reference(fitting, shape, maps, { causal }))).toBeLessThan(1e-5);
      }
    });
  });

  const { positive, hyperbolic } = everyMap(shape.dim, 16) as Record<string, FeatureMapDescription>;

  it("takes other numbers of queries than of keys", () => {
    const [q, k, v] = tensors(inputs, shape);
    const some = favorAttention(q.slice([0, 0, 4, 0], [2, 3, 9, 6]), k, v, { featureMap: positive! });
    const all = favorAttention(q, k, v, { featureMap: positive! });
    expect(relativeError(some.dataSync(), all.slice([0, 0, 4, 0], [2, 3, 9, 5]).dataSync())).toBeLessThan(1e-5);
  });

  it("neither over- nor underflows for keys of very different norms, bidirectional and causal", () => {
    const small = { batch: 1, heads: 1, length: 70, dim: 6, valueDim: 5 };
    const wild = sample(small, 1, 7);
    wild.k.forEach((x, i) => (wild.k[i] = x * (1 + (i % 7)) * 6));
    for (const causal of [false, true]) {
      const out = favorAttention(...tensors(wild, small), { featureMap: hyperbolic!, causal });
      const expected = reference(wild, small, [hyperbolic!], { causal });
      expect(relativeError(out.dataSync(), expected)).toBeLessThan(1e-3);
    }
  });

  it("a hidden key and its value have no effect, whatever they hold", () => {
    const spoiled = { ...inputs, k: inputs.k.slice(), v: inputs.v.slice() };
    for (let b = 0; b < shape.batch; b++) {
      for (let h = 0; h < shape.heads; h++) {
        for (let j = 0; j < shape.length; j++) {
          if (mask[b * shape.length + j] === 1) continue;
          const row = (b * shape.heads + h) * shape.length + j;
          spoiled.k.fill(1e20, row * shape.dim, (row + 1) * shape.dim);
          spoiled.v.fill(NaN, row * shape.valueDim, (row + 1) * shape.valueDim);
        }
      }
    }
    for (const causal of [false, true]) {
      const options = { featureMap: positive!, mask: keyMask(), causal };
      const clean = favorAttention(...tensors(inputs, shape), options).dataSync();
      expect(favorAttention(...tensors(spoiled, shape), options).dataSync()).toEqual(clean);
    }
  });

  it("padding at the end changes nothing before it", () => {
    const [q, k, v] = tensors(inputs, shape);
    const padded = tf.concat([tf.ones([2, 37]), tf.zeros([2, 11])], 1);
    const out = favorAttention(pad(q), pad(k), pad(v), { featureMap: positive!, mask: padded });
    const expected = favorAttention(q, k, v, { featureMap: positive! }).dataSync();
    expect(relativeError(out.slice([0, 0, 0, 0], [2, 3, 37, 5]).dataSync(), expected)).toBeLessThan(1e-5);
  });

  it("sequences of a batch do not see each other", () => {
    const [q, k, v] = tensors(inputs, shape);
    for (const causal of [false, true]) {
      const together = favorAttention(q, k, v, { featureMap: positive!, causal });
      const alone = [q, k, v].map((x) => x.slice([1, 0, 0, 0], [1, -1, -1, -1])) as [tf.Tensor, tf.Tensor, tf.Tensor];
      const second = favorAttention(...alone, { featureMap: positive!, causal });
      expect(relativeError(second.dataSync(), together.slice([1, 0, 0, 0], [1, -1, -1, -1]).dataSync())).toBeLessThan(
        1e-5,
      );
    }
  });

  it("causal: rows do not change with later keys, not even by their scale", () => {
    const later = { ...inputs, k: inputs.k.slice(), v: inputs.v.slice() };
    const from = 20;
    for (let group = 0; group < shape.batch * shape.heads; group++) {
      const start = group * shape.length;
      for (let i = (start + from) * shape.dim; i < (start + shape.length) * shape.dim; i++) later.k[i]! *= 8;
      for (let i = (start + from) * shape.valueDim; i < (start + shape.length) * shape.valueDim; i++) later.v[i]! += 9;
    }
    for (const featureMap of Object.values(everyMap(shape.dim, 16))) {
      const first = favorAttention(...tensors(inputs, shape), { featureMap, causal: true });
      const second = favorAttention(...tensors(later, shape), { featureMap, causal: true });
      const head = (x: tf.Tensor): Float32Array => x.slice([0, 0, 0, 0], [2, 3, from, 5]).dataSync<"float32">();
      expect(head(second)).toEqual(head(first));
      expect(relativeError(second.dataSync(), first.dataSync())).toBeGreaterThan(0.1);
    }
  });

  it("a query that sees no key gives 0", () => {
    for (const causal of [false, true]) {
      const none = tf.zeros([2, 37]);
      const out = favorAttention(...tensors(inputs, shape), { featureMap: positive!, mask: none, causal });
      expect(out.dataSync().every((x) => x === 0)).toBe(true);
    }
  });

  it("leaves no tensor behind", () => {
    const three = tensors(inputs, shape);
    const before = tf.memory().numTensors;
    favorAttention(...three, { featureMap: positive!, causal: true }).dispose();
    tf.tidy(() => void tf.grads((q, k, v) => tf.sum(favorAttention(q!, k!, v!, { featureMap: positive! })))(three));
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe("favorAttention refuses", () => {
  const featureMap = everyMap(6, 16)["positive"]!;
  const [q, k, v] = tensors(inputs, shape);
  it.each([
    ["q of rank 3", () => favorAttention(q.reshape([6, 37, 6]), k, v, { featureMap }), /^q: .*found "\[6,37,6\]"/],
    ["k of other heads", () => favorAttention(q, k.slice(0, 1), v, { featureMap }), /^k: expected \[2,3,37,6\]/],
    ["v of another length", () => favorAttention(q, k, v.slice(0, 1), { featureMap }), /^v: expected/],
    [
      "a mask per query",
      () => favorAttention(q, k, v, { featureMap, mask: tf.ones([2, 37, 37]) }),
      /^mask: .*per query/,
    ],
    ["a short mask", () => favorAttention(q, k, v, { featureMap, mask: tf.ones([2, 36]) }), /^mask: expected \[2,37\]/],
    [
      "a map of another dim",
      () => favorAttention(q, k, v, { featureMap: everyMap(4, 8)["elu"]! }),
      /^featureMap: .*dim 6/,
    ],
    [
      "two maps for three heads",
      () => favorAttention(q, k, v, { featureMap: [featureMap, featureMap] }),
      /^featureMap: .*3 heads/,
    ],
    [
      "maps of different kinds",
      () => favorAttention(q, k, v, { featureMap: [featureMap, featureMap, everyMap(6, 16)["oprf"]!] }),
      /^featureMap\[2\]/,
    ],
    [
      "a projection of another size",
      () => favorAttention(q, k, v, { featureMap, projection: tf.ones([16, 5]) }),
      /^projection: /,
    ],
    [
      "a projection without use",
      () => favorAttention(q, k, v, { featureMap: everyMap(6, 16)["elu"]!, projection: tf.ones([16, 6]) }),
      /^projection: .*elu/,
    ],
    [
      "a projection that is not finite",
      () => {
        const projection = tf.tensor2d(
          Float32Array.from({ length: 96 }, (_, i) => (i === 50 ? NaN : 1)),
          [16, 6],
        );
        return favorAttention(q, k, v, { featureMap, projection });
      },
      /^projection: .*finite.*NaN in row 8/,
    ],
    ["scale 0", () => favorAttention(q, k, v, { featureMap, scale: 0 }), /^scale: /],
    [
      "other causal lengths",
      () => favorAttention(q.slice([0, 0, 1, 0]), k, v, { featureMap, causal: true }),
      /^k: 36|^k: expected 36/,
    ],
  ])("%s", (_name, call, message) => {
    expect(call).toThrow(message);
    expect(call).toThrow(expect.objectContaining({ code: "invalid-argument" }));
  });
});
