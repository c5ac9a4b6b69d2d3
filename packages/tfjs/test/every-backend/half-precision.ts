// What must hold on WebGL with half-precision textures, as on phones: 11 bits of digits, and nothing above 65,504.
import { exactAttention as exactReference } from "@favor/core";
import { exactAttention, favorAttention, hybridAttention } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { laterKeysChecks, requireClose } from "./checks.ts";
import type { Check } from "./checks.ts";
import { hybridReference } from "../ops/hybrid-samples.ts";
import { everyMap, reference, sample, tensors } from "../ops/samples.ts";

const shape = { batch: 2, heads: 2, length: 70, dim: 4, valueDim: 3 };
const keyMask = Array.from({ length: shape.batch * shape.length }, (_, i) => (i % 6 === 5 ? 0 : 1));
const inputs = sample(shape, 0.4);
const maps = everyMap(shape.dim, 8);
/** Half precision has 5e-4; a row adds the errors of its features and of their sums. */
const limit = 2e-2;

type Attend = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) => tf.Tensor;

async function equalsCore(attend: Attend, expected: ArrayLike<number>, of = shape): Promise<void> {
  const three = tensors(sample(of, 0.4), of);
  requireClose("half precision", await attend(...three).data(), expected, limit);
  const gradients = tf.grads((q, k, v) => attend(q!, k!, v!))(three);
  for (const [i, gradient] of gradients.entries()) {
    if (!(await gradient.data()).every((x) => Number.isFinite(x))) throw new Error(`gradient ${i} is not finite`);
  }
}

const mask = (): tf.Tensor => tf.tensor2d(keyMask, [shape.batch, shape.length]);

export const halfPrecisionChecks: readonly Check[] = [
  ...laterKeysChecks,
  ...[false, true].flatMap((causal) => [
    // one of each way of summing; not trigonometric ones, whose normalisers come near 0
    ...["positive", "landmark", "squared-relu"].map((name) => ({
      name: `half precision, ${name}, causal ${causal}`,
      run: () => {
        const featureMap = maps[name]!;
        return equalsCore(
          (q, k, v) => favorAttention(q, k, v, { featureMap, mask: mask(), causal }),
          reference(inputs, shape, [featureMap], { mask: keyMask, causal }),
        );
      },
    })),
    {
      name: `half precision, hybrid attention, causal ${causal}`,
      run: () => {
        const exactKeys = { window: 16, chosenBlocks: 1 };
        const featureMap = maps["positive"]!;
        return equalsCore(
          (q, k, v) => hybridAttention(q, k, v, { featureMap, exactKeys, mask: mask(), causal }),
          hybridReference(inputs, shape, { exactKeys, maps: [featureMap], mask: keyMask, causal }),
        );
      },
    },
    {
      name: `half precision, softmax, causal ${causal}`,
      run: () => {
        const one = { ...shape, batch: 1, heads: 1 };
        const shown = keyMask.slice(0, shape.length);
        const { q, k, v } = sample(one, 0.4);
        const [query, key, value] = [q, k, v].map((x) => Float64Array.from(x)) as [
          Float64Array,
          Float64Array,
          Float64Array,
        ];
        const options = { dim: one.dim, valueDim: one.valueDim, scale: one.dim ** -0.5, keyMask: shown, causal };
        return equalsCore(
          (...x) => exactAttention(...x, { mask: tf.tensor2d(shown, [1, shape.length]), causal }),
          exactReference(query, key, value, options),
          one,
        );
      },
    },
  ]),
];
