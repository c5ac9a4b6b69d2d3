import * as tf from "@tensorflow/tfjs";
import { describe, expect, it } from "vitest";
import { repairBackend } from "../../src/index.ts";
import type { WasmBackend } from "../../src/kernels/wasm-backend.ts";
import { version } from "@favor/test-support/backends";
import { gaussians, relativeError } from "../ops/samples.ts";
import { quickest } from "./processor-time.ts";

// The order matters: first what tfjs does by itself, then the repair.
const shapes: [number[], number[], boolean, boolean][] = [
  [[48, 40], [40, 56], false, false],
  [[40, 48], [40, 56], true, false],
  [[3, 48, 40], [3, 40, 56], false, false],
  [[2, 128, 128], [2, 160, 128], true, true],
  [[2, 1, 128, 128], [2, 1, 160, 128], false, true],
  [[2, 3, 5, 4], [2, 3, 4, 6], false, false],
  [[2, 3, 67, 50], [2, 3, 50, 65], false, false],
  [[5, 50, 67], [5, 50, 65], true, false],
  [[5, 67, 50], [5, 65, 50], false, true],
  [[5, 50, 67], [5, 65, 50], true, true],
  [[4, 2, 160], [4, 160, 128], false, false],
  [[1, 48, 40], [3, 40, 56], false, false],
];
const products = (): Float32Array[] =>
  shapes.map(([a, b, transposeA, transposeB]) => {
    const [x, y] = [a, b].map((shape, i) => tf.tensor(gaussians(tf.util.sizeFromShape(shape), i), shape));
    return tf.matMul(x!, y!, transposeA, transposeB).dataSync<"float32">();
  });

/** Milliseconds of {@link batchedProduct} before the repair. */
let unrepaired = 0;
const batchedProduct = (): tf.Tensor =>
  tf.tidy(() => tf.matMul(tf.ones([4, 256, 256]), tf.ones([4, 256, 256]), true, false));
/** As many multiplications as of {@link productPerHead}, in one product. */
const oneProduct = (): tf.Tensor => tf.tidy(() => tf.matMul(tf.ones([4096, 64]), tf.ones([64, 128])));
/** As of {@link batchedProduct}, for many small matrices. */
let unrepairedHeads = 0;
const productPerHead = (): tf.Tensor => tf.tidy(() => tf.matMul(tf.ones([32, 128, 64]), tf.ones([32, 64, 128])));

describe("what tfjs 4.22 lacks; if one of these fails, tfjs has mended it: drop that repair", () => {
  it("wasm: a transposed product is several times slower than the same with its operand transposed before", async () => {
    await tf.setBackend("wasm");
    expect(version).toBe("4.22.0");
    const a = tf.ones<tf.Rank.R2>([384, 384]);
    const transposed = quickest(() => tf.matMul(a, a, true, false));
    const explicit = quickest(() => tf.tidy(() => tf.matMul(tf.transpose(a), a)));
    expect(transposed).toBeGreaterThan(2 * explicit);
    unrepaired = quickest(batchedProduct);
    unrepairedHeads = quickest(productPerHead);
    expect(unrepairedHeads).toBeGreaterThan(2 * quickest(oneProduct));
  });
});

describe("repairBackend", () => {
  it("gives wasm the reference's products", async () => {
    await tf.setBackend("cpu");
    const expected = products();
    await tf.setBackend("wasm");
    expect(repairBackend()).toContain("BatchMatMul");
    for (const [i, product] of products().entries()) expect(relativeError(product, expected[i]!)).toBeLessThan(1e-5);
  });

  it("sums no terms to 0, in the gradient of a weight for no rows too", async () => {
    await tf.setBackend("wasm");
    for (let size = 1; size <= 40; size++) tf.tidy(() => tf.mul(tf.ones([size]), 7).dataSync());
    const weight = tf.ones<tf.Rank.R2>([4, 6]);
    const gradient = tf.grad((w: tf.Tensor) => tf.matMul(tf.zeros([0, 4]), w))(weight);
    expect(Array.from(gradient.dataSync())).toEqual(Array.from({ length: 24 }, () => 0));
    for (const [a, b] of [
      [
        [2, 0],
        [0, 3],
      ],
      [
        [5, 2, 0],
        [5, 0, 3],
      ],
      [
        [5, 2, 0],
        [1, 0, 3],
      ],
    ] as const) {
      const product = tf.matMul(tf.zeros([...a]), tf.zeros([...b]));
      expect(Array.from(product.dataSync())).toEqual(Array.from({ length: product.size }, () => 0));
      expect(product.shape).toEqual([...a.slice(0, -1), 3]);
    }
  });

  it("makes transposed and batched products on wasm faster", async () => {
    await tf.setBackend("wasm");
    expect(quickest(batchedProduct)).toBeLessThan(unrepaired / 1.5);
    expect(quickest(productPerHead)).toBeLessThan(unrepairedHeads / 2);
  });

  it("frees all that a product took where memory ends in it", async () => {
    await tf.setBackend("wasm");
    const [a, b] = [tf.ones([3, 64, 64]), tf.ones([3, 64, 64])];
    const backend = tf.backend() as WasmBackend;
    const { numTensors, numDataBuffers } = tf.memory();
    const dataIds = backend.numDataIds();
    const { makeOutput } = backend;
    let allowed = 5;
    backend.makeOutput = (shape, dtype) => {
      if (allowed-- === 0) throw new Error("no more memory");
      return makeOutput.call(backend, shape, dtype);
    };
    try {
      expect(() => tf.matMul(a, b, true)).toThrow("no more memory");
    } finally {
      backend.makeOutput = makeOutput;
    }
    expect(tf.memory()).toMatchObject({ numTensors, numDataBuffers });
    expect(backend.numDataIds()).toBe(dataIds);
    tf.dispose([a, b]);
  });
});
