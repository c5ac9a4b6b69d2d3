import { poolingModes } from "@favor/checkpoints/node";
import * as tf from "@tensorflow/tfjs";
import { expect, test } from "vitest";

import { pooledEmbeddings } from "../../src/align/pooling.ts";
import { vectorDistance } from "../../src/align/vector-distance.ts";

const rows = [
  [
    [1, -8],
    [2, -4],
    [6, -9],
  ],
  [
    [-3, 5],
    [-1, 7],
    // padding
    [100, 100],
  ],
];

const dot = (a: number[], b: number[]): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);

test("embeddings are pooled from the tokens, without the padding", () => {
  const modes = Object.entries({
    cls: [
      [1, -8],
      [-3, 5],
    ],
    max: [
      [6, -4],
      [-1, 7],
    ],
    mean: [
      [3, -7],
      [-2, 6],
    ],
    "mean-sqrt-length": [
      [9 / Math.sqrt(3), -21 / Math.sqrt(3)],
      [-4 / Math.sqrt(2), 12 / Math.sqrt(2)],
    ],
    "weighted-mean": [
      [(1 + 4 + 18) / 6, (-8 - 8 - 27) / 6],
      [(-3 - 2) / 3, (5 + 14) / 3],
    ],
    last: [
      [6, -9],
      [-1, 7],
    ],
  });
  expect(modes.map(([mode]) => mode)).toEqual([...poolingModes]);
  const pooled = pooledEmbeddings(tf.tensor3d(rows), [3, 2], poolingModes).arraySync();
  for (const [row, values] of pooled.entries()) {
    const expected = modes.flatMap(([, both]) => both[row]!);
    expect(values).toHaveLength(expected.length);
    for (const [i, value] of values.entries()) expect(value).toBeCloseTo(expected[i]!, 4);
  }
});

test("the distance is one minus the mean cosine, plus the relative squared error, where the weight is", () => {
  const [found, wanted, weights] = [
    [
      [1, 2, 3],
      [0, -1, 2],
      [9, 9, 9],
    ],
    [
      [1, 1, 3],
      [1, -2, 2],
      [-9, 0, 1],
    ],
    [[1], [2], [0]],
  ];
  let [apart, error, size] = [0, 0, 0];
  for (const [i, y] of found!.entries()) {
    const [t, weight] = [wanted![i]!, weights![i]![0]!];
    apart += (weight * (1 - dot(y, t) / Math.sqrt(dot(y, y) * dot(t, t)))) / 3;
    error += weight * dot(y, y) - 2 * weight * dot(y, t) + weight * dot(t, t);
    size += weight * dot(t, t);
  }
  const distance = vectorDistance(tf.tensor2d(found!), tf.tensor2d(wanted!), tf.tensor2d(weights!));
  expect(distance.dataSync()[0]).toBeCloseTo(apart + error / size, 5);
});

test("vectors of zeros have a distance and a gradient, and equal ones have none", () => {
  const ones = tf.ones<tf.Rank.R2>([2, 1]);
  const zeros = tf.zeros<tf.Rank.R2>([2, 3]);
  const gradient = tf.grad((y: tf.Tensor) => vectorDistance(y as tf.Tensor2D, zeros, ones))(zeros);
  expect([...gradient.dataSync()].every(Number.isFinite)).toBe(true);
  const some = tf.tensor2d(rows[0]!);
  expect(vectorDistance(some, some, tf.ones([3, 1])).dataSync()[0]).toBeCloseTo(0, 6);
});
