import { exactAttention as exactReference } from "@favor/core";
import * as tf from "@tensorflow/tfjs";
import { expect, it } from "vitest";
import { exactAttention } from "../../src/index.ts";
import { onEveryBackend } from "@favor/test-support/backends";
import { relativeError, sample, tensors } from "./samples.ts";

const shape = { batch: 1, heads: 1, length: 23, dim: 6, valueDim: 5 };
const inputs = sample(shape);

onEveryBackend("exactAttention", () => {
  it.each([false, true])("equals @favor/core with a padding mask; causal: %s", (causal) => {
    const keyMask = Array.from({ length: 23 }, (_, i) => (i % 4 === 3 ? 0 : 1));
    const out = exactAttention(...tensors(inputs, shape), { mask: tf.tensor2d(keyMask, [1, 23], "bool"), causal });
    const [q, k, v] = [inputs.q, inputs.k, inputs.v].map((x) => Float64Array.from(x)) as [
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    const expected = exactReference(q, k, v, { dim: 6, valueDim: 5, scale: 6 ** -0.5, keyMask, causal });
    expect(relativeError(out.dataSync(), expected)).toBeLessThan(1e-5);
  });

  it("takes a mask per query and per head", () => {
    const three = tensors(inputs, shape);
    const lower = tf.linalg.bandPart(tf.ones([23, 23]), -1, 0);
    const expected = exactAttention(...three, { causal: true }).dataSync();
    for (const mask of [lower.reshape([1, 23, 23]), lower.reshape([1, 1, 23, 23])]) {
      expect(exactAttention(...three, { mask }).dataSync()).toEqual(expected);
    }
    expect(() => exactAttention(...three, { mask: tf.ones([23]) })).toThrow(/^mask: .*rank 2 to 4/);
    expect(() => exactAttention(...three, { mask: tf.ones([1, 22, 23]) })).toThrow(/^mask: expected \[1,23,23\]/);
  });

  it("is even over all keys for a query that sees none, as in Keras, causal with padding too", () => {
    const three = tensors(inputs, shape);
    // the first keys are padding: the first queries see none
    const mask = tf.tensor2d(
      Array.from({ length: 23 }, (_, key) => (key < 5 ? 0 : 1)),
      [1, 23],
    );
    const out = exactAttention(...three, { mask, causal: true });
    const means = tf.mul(tf.mean(three[2], 2, true), tf.ones([1, 1, 5, 1])).dataSync();
    expect(relativeError(out.slice([0, 0, 0, 0], [1, 1, 5, -1]).dataSync(), means)).toBeLessThan(1e-6);
  });
});
