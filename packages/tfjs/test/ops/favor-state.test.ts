import * as tf from "@tensorflow/tfjs";
import { describe, expect, it } from "vitest";
import { favorAttention, startFavor } from "../../src/index.ts";
import { onEveryBackend } from "@favor/test-support/backends";
import { everyMap, relativeError, sample, tensors } from "./samples.ts";

const shape = { batch: 2, heads: 2, length: 19, dim: 4, valueDim: 3 };
const inputs = sample(shape);
const mask = Array.from({ length: shape.batch * shape.length }, (_, i) => (i % 5 === 0 ? 0 : 1));

onEveryBackend("causal attention by calls that continue a state", () => {
  it.each(Object.entries(everyMap(shape.dim, 8)))("%s features: gives what one call gives", (name, featureMap) => {
    // trigonometric normalisers of larger inputs come near 0
    const three = tensors(name.startsWith("trigonometric") ? sample(shape, 0.3) : inputs, shape);
    const keyMask = tf.tensor2d(mask, [shape.batch, shape.length]);
    const whole = favorAttention(...three, { featureMap, causal: true, mask: keyMask });
    for (const lengths of [shape.length, 7, 1]) {
      const state = startFavor();
      const parts: tf.Tensor[] = [];
      for (let from = 0; from < shape.length; from += lengths) {
        const count = Math.min(lengths, shape.length - from);
        const [q, k, v] = three.map((x) => tf.slice(x, [0, 0, from, 0], [-1, -1, count, -1])) as [
          tf.Tensor,
          tf.Tensor,
          tf.Tensor,
        ];
        const shown = tf.slice(keyMask, [0, from], [-1, count]);
        parts.push(favorAttention(q, k, v, { featureMap, causal: true, mask: shown, state }));
      }
      expect(relativeError(tf.concat(parts, 2).dataSync(), whole.dataSync())).toBeLessThan(2e-5);
      state.dispose();
    }
  });

  it("keeps as many tensors after 50 tokens as after one, and none after its end", () => {
    const featureMap = everyMap(4, 8)["positive"]!;
    const before = tf.memory().numTensors;
    const token = { ...shape, length: 1 };
    const state = startFavor();
    const step = (seed: number): number => {
      tf.tidy(
        () => void favorAttention(...tensors(sample(token, 1, seed), token), { featureMap, causal: true, state }),
      );
      return tf.memory().numTensors - before;
    };
    const first = step(1);
    for (let i = 2; i <= 50; i++) expect(step(i)).toBe(first);
    state.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe("a state", () => {
  const featureMap = everyMap(4, 8)["positive"]!;
  const three = tensors(inputs, shape);
  const used = startFavor();
  favorAttention(...three, { featureMap, causal: true, state: used });
  const ended = startFavor();
  favorAttention(...three, { featureMap, causal: true, state: ended });
  ended.dispose();

  it.each([
    ["without causal", () => favorAttention(...three, { featureMap, state: startFavor() }), /^state: .*causal/],
    [
      "of another number of features",
      () => favorAttention(...three, { featureMap: everyMap(4, 16)["positive"]!, causal: true, state: used }),
      /^state: /,
    ],
    [
      "of another batch",
      () => {
        const one = three.map((x) => tf.slice(x, [0, 0, 0, 0], [1, -1, -1, -1])) as typeof three;
        return favorAttention(...one, { featureMap, causal: true, state: used });
      },
      /^state: .*1 sequences.*2 sequences/,
    ],
    [
      "of another division into sequences and heads",
      () => {
        const four = three.map((x) => tf.reshape(x, [4, 1, x.shape[2]!, x.shape[3]!])) as typeof three;
        return favorAttention(...four, { featureMap, causal: true, state: used });
      },
      /^state: .*4 sequences, 1 heads.*2 sequences, 2 heads/,
    ],
    [
      "of another scale",
      () => favorAttention(...three, { featureMap, causal: true, state: used, scale: 0.25 }),
      /^state: .*scale 0.25.*0.5/,
    ],
    [
      "of a projection where the state has none",
      () => favorAttention(...three, { featureMap, causal: true, state: used, projection: tf.ones([8, 4]) }),
      /^state: .*projection/,
    ],
    [
      "of another projection",
      () => {
        const state = startFavor();
        const projection = tf.variable(tf.ones([8, 4]));
        favorAttention(...three, { featureMap, causal: true, state, projection });
        // the same numbers, then others
        favorAttention(...three, { featureMap, causal: true, state, projection: tf.ones([8, 4]) });
        projection.assign(tf.zeros([8, 4]));
        return favorAttention(...three, { featureMap, causal: true, state, projection });
      },
      /^state: .*projection/,
    ],
    ["after its end", () => favorAttention(...three, { featureMap, causal: true, state: ended }), /^state: .*disposed/],
    [
      "of another kind",
      () => favorAttention(...three, { featureMap, causal: true, state: {} as never }),
      /^state: .*startFavor/,
    ],
  ])("%s is refused", (_name, call, message) => {
    expect(call).toThrow(message);
    expect(call).toThrow(expect.objectContaining({ code: "invalid-argument" }));
  });
});
