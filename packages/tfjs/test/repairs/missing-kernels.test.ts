import * as tf from "@tensorflow/tfjs";
import { describe, expect, it } from "vitest";
import { repairBackend } from "../../src/index.ts";
import { version } from "@favor/test-support/backends";
import { gaussians, relativeError } from "../ops/samples.ts";

// The order matters: first what tfjs does by itself, then the repair.
const equations: [string, number[][]][] = [
  [
    "ij,jk->ik",
    [
      [3, 4],
      [4, 5],
    ],
  ],
  [
    "bhqd,bhkd->bhqk",
    [
      [2, 3, 4, 5],
      [2, 3, 6, 5],
    ],
  ],
  [
    "bhqk,bhkd->bqhd",
    [
      [2, 3, 4, 6],
      [2, 3, 6, 5],
    ],
  ],
  ["ijk->ki", [[3, 4, 5]]],
  ["ij,j->i", [[3, 4], [4]]],
  ["i,j->ji", [[3], [4]]],
  [
    "ij,ij->ij",
    [
      [3, 4],
      [3, 4],
    ],
  ],
  ["i,i->", [[7], [7]]],
];
const einsums = (): ArrayLike<number>[] =>
  equations.map(([equation, operands]) =>
    tf
      .einsum(equation, ...operands.map((shape, i) => tf.tensor(gaussians(tf.util.sizeFromShape(shape), i), shape)))
      .dataSync(),
  );

const gathered: [shape: number[], ids: number[], axis: number, batchDims: number][] = [
  [[2, 4, 3], [2, 5], 1, 1],
  [[2, 3, 4], [2, 5], 2, 1],
  [[2, 3, 4, 2], [2, 3, 5], 2, 2],
  [[2, 3, 4], [2, 3, 5, 2], 2, 2],
  [[2, 3, 2, 4], [2, 3, 5], 3, 2],
  [[2, 1, 2, 4, 3], [2, 1, 2], 3, 2],
];
const gathers = (): tf.Tensor[] =>
  gathered.map(([shape, idShape, axis, batchDims]) => {
    const size = tf.util.sizeFromShape(idShape);
    const ids = tf.tensor(
      Array.from({ length: size }, (_, i) => (i * 7) % 3),
      idShape,
      "int32",
    );
    return tf.gather(tf.tensor(gaussians(tf.util.sizeFromShape(shape), 4), shape), ids, axis, batchDims);
  });

const castNumbers = (): ArrayLike<number> =>
  tf.cast(tf.tensor1d([0, 0.5, -0.25, 1, 256, 2, -0, Infinity]), "bool").dataSync();

describe("what tfjs 4.22 lacks; if one of these fails, tfjs has mended it: drop that repair", () => {
  it("wasm: Einsum is missing, and the cast of numbers to booleans wrong", async () => {
    await tf.setBackend("cpu");
    expect(version).toBe("4.22.0");
    const booleans = castNumbers();
    await tf.setBackend("wasm");
    expect(einsums).toThrow(/Einsum/);
    expect(castNumbers()).not.toEqual(booleans);
  });
});

describe("repairBackend", () => {
  it("gives wasm Einsum, gather with batch dimensions and the cast to booleans of the reference", async () => {
    await tf.setBackend("cpu");
    const expectedSums = einsums();
    const expected = gathers();
    const booleans = castNumbers();
    expect(Array.from(booleans)).toEqual([0, 1, 1, 1, 1, 1, 0, 1]);
    await tf.setBackend("wasm");
    expect(repairBackend()).toEqual(expect.arrayContaining(["Einsum", "GatherV2", "Cast"]));
    for (const [i, product] of einsums().entries()) expect(relativeError(product, expectedSums[i]!)).toBeLessThan(1e-5);
    // summed in one operand alone, which the reference refuses
    const [a, b] = [tf.tensor(gaussians(24, 1), [2, 3, 4]), tf.tensor(gaussians(20, 2), [5, 4])];
    const apart = tf.matMul(tf.sum(a, 0), b as tf.Tensor2D, false, true).dataSync();
    expect(relativeError(tf.einsum("aij,kj->ik", a, b).dataSync(), apart)).toBeLessThan(1e-5);
    expect(() => tf.einsum("ij,jk->ik", tf.ones([3, 4]), tf.ones([5, 5]))).toThrow(/[Dd]imension/);
    for (const [i, x] of gathers().entries()) {
      expect(x.shape).toEqual(expected[i]!.shape);
      expect(x.dataSync()).toEqual(expected[i]!.dataSync());
    }
    expect(castNumbers()).toEqual(booleans);
    expect(tf.cast(tf.tensor1d([0, 256, 3], "int32"), "bool").dataSync()).toEqual(Uint8Array.of(0, 1, 1));
    expect(tf.cast(tf.tensor1d([0.5, 2.5]), "int32").dataSync()).toEqual(Int32Array.of(0, 2));
  });
});
