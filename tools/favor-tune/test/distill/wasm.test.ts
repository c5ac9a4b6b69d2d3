import { repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { setThreadsCount } from "@tensorflow/tfjs-backend-wasm";
import { beforeAll, expect, test } from "vitest";

import { multiplyByHead } from "../../src/distill/head-products.ts";
import { speedUpMaxGradient } from "../../src/distill/max-gradient.ts";
import { speedUpProducts } from "../../src/distill/wasm-products.ts";

beforeAll(async () => {
  setThreadsCount(1);
  await tf.setBackend("wasm");
  repairBackend();
});

const largest = (x: tf.Tensor): number => tf.max(tf.abs(x)).dataSync()[0]!;

test.each([
  [false, false],
  [true, false],
  [false, true],
  [true, true],
])("products of many matrices (transposed: %s, %s) stay what they were, with nothing left in memory", (ofA, ofB) => {
  const [items, rows, inner, columns] = [5, 67, 50, 65];
  const a = tf.randomNormal(ofA ? [items, inner, rows] : [items, rows, inner], 0, 1, "float32", 1);
  const b = tf.randomNormal(ofB ? [items, columns, inner] : [items, inner, columns], 0, 1, "float32", 2);
  const stock = tf.getKernel("BatchMatMul", "wasm");
  const before = tf.matMul(a, b, ofA, ofB);
  speedUpProducts();
  const replaced = tf.getKernel("BatchMatMul", "wasm");
  expect(replaced.kernelFunc).not.toBe(stock.kernelFunc);
  speedUpProducts();
  expect(tf.getKernel("BatchMatMul", "wasm").kernelFunc).toBe(replaced.kernelFunc);
  const { numTensors, numDataBuffers } = tf.memory();
  const after = tf.matMul(a, b, ofA, ofB);
  expect(tf.memory()).toMatchObject({ numTensors: numTensors + 1, numDataBuffers: numDataBuffers + 1 });
  expect(after.shape).toEqual([items, rows, columns]);
  expect(largest(tf.sub(before, after))).toBeLessThan(1e-4);
  tf.unregisterKernel("BatchMatMul", "wasm");
  tf.registerKernel(stock);
});

test.each([[[1]], [[-1]], [[0, 2]], [[0, 1, 2]]])(
  "the gradient of the maximum over axes %j stays what it was",
  (axes) => {
    const x = tf.randomNormal([3, 4, 5], 0, 1, "float32", 3);
    const weights = tf.randomNormal(tf.max(x, axes).shape, 0, 1, "float32", 4);
    const gradient = tf.grad((value: tf.Tensor) => tf.sum(tf.mul(tf.max(value, axes), weights)));
    const stock = tf.getGradient("Max");
    const before = gradient(x).arraySync();
    speedUpMaxGradient();
    expect(tf.getGradient("Max").gradFunc).not.toBe(stock.gradFunc);
    expect(gradient(x).arraySync()).toEqual(before);
    expect(gradient(tf.zerosLike(x)).arraySync()).toEqual(tf.mul(tf.onesLike(x), expanded(weights, axes)).arraySync());
    tf.unregisterGradient("Max");
    tf.registerGradient(stock);
  },
);

function expanded(value: tf.Tensor, axes: readonly number[]): tf.Tensor {
  const kept = [3, 4, 5].map((size, axis) => (axes.includes(axis) || axes.includes(axis - 3) ? 1 : size));
  return tf.reshape(value, kept);
}

test.each([[true], [false]])(
  "a product head by head is that of every sequence and head (matrix left: %s)",
  (isLeft) => {
    const value = tf.randomNormal(isLeft ? [2, 3, 4, 6] : [2, 3, 6, 4], 0, 1, "float32", 5);
    const matrix = tf.randomNormal(isLeft ? [3, 5, 4] : [3, 4, 5], 0, 1, "float32", 6);
    const product = multiplyByHead(value, matrix, isLeft);
    const spread = tf.tile(tf.expandDims(matrix, 0), [2, 1, 1, 1]);
    const direct = isLeft ? tf.matMul(spread, value) : tf.matMul(value, spread);
    expect(product.shape).toEqual(direct.shape);
    expect(largest(tf.sub(product, direct))).toBeLessThan(1e-5);
  },
);
