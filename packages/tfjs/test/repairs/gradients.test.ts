import * as tf from "@tensorflow/tfjs";
import { describe, expect, it } from "vitest";
import { repairBackend } from "../../src/index.ts";
import { version } from "@favor/test-support/backends";
import { gaussians, relativeError } from "../ops/samples.ts";
import { quickest } from "./processor-time.ts";

// The order matters: first what tfjs does by itself, then the repair.
const segmentGradient = (): tf.Tensor => {
  const table = tf.tensor2d(gaussians(12, 1), [4, 3]);
  return tf.grad((x) => tf.sum(tf.square(tf.gather(x, tf.tensor1d([3, 1, 3], "int32")))))(table);
};

let unrepairedTile: ArrayLike<number> = [];
// The last maximum is one of two equal ones, those before are at infinity.
const maximaOf = [4, Infinity, 1, -Infinity, -Infinity, -Infinity, NaN, 2, 1, 3, 7, 7];
const maximumGradients = (): ArrayLike<number>[] =>
  [[1], [-1], [0, 2], [0, 1, 2]].map((axes) => {
    const x = tf.tensor(maximaOf, [2, 2, 3]);
    const weights = tf.tensor(gaussians(6, 9).slice(0, tf.max(x, axes).size), tf.max(x, axes).shape);
    return tf
      .grad((value) => tf.sum(tf.mul(tf.max(value, axes), weights)))(x)
      .dataSync();
  });
const largeMaximumGradient = (): tf.Tensor =>
  tf.tidy(() => tf.grad((x) => tf.max(x, -1))(tf.ones([2, 8, 128, 64]), tf.ones([2, 8, 128])));
let unrepairedMaxima: ArrayLike<number>[] = [];
let unrepairedMaximumTime = 0;

// [2, 3, 1] repeated [2, 1, 4] times
const tileGradientOf = (): tf.Tensor =>
  tf.grad((x) => tf.tile(x, [2, 1, 4]))(tf.ones([2, 3, 1]), tf.tensor(gaussians(48, 3), [4, 3, 4]));

/** How many kernels the gradient of a tile over a sequence runs. */
async function kernelsOfTileGradient(): Promise<number> {
  const gradient = tf.grad((x: tf.Tensor) => tf.tile(x, [1, 100, 1]));
  return (await tf.profile(() => gradient(tf.ones([1, 1, 8])))).kernels.length;
}

describe("what tfjs 4.22 lacks; if one of these fails, tfjs has mended it: drop that repair", () => {
  it("wasm: UnsortedSegmentSum is missing", async () => {
    await tf.setBackend("wasm");
    expect(version).toBe("4.22.0");
    expect(segmentGradient).toThrow(/UnsortedSegmentSum/);
  });

  it("cpu: UnsortedSegmentSum takes time in proportion to the number of segments", async () => {
    await tf.setBackend("cpu");
    const x = tf.ones([50, 32]);
    const ids = tf.zeros([50], "int32") as tf.Tensor1D;
    const time = (segments: number): number => quickest(() => tf.unsortedSegmentSum(x, ids, segments));
    expect(time(400)).toBeGreaterThan(4 * time(20));
  });

  it("the gradient of tile runs kernels in proportion to the repetitions", async () => {
    await tf.setBackend("cpu");
    expect(await kernelsOfTileGradient()).toBeGreaterThan(100);
    unrepairedTile = tileGradientOf().dataSync();
  });

  it("wasm: the gradient of max is several times slower than max", async () => {
    await tf.setBackend("wasm");
    unrepairedMaxima = maximumGradients();
    unrepairedMaximumTime = quickest(largeMaximumGradient);
    const x = tf.ones([2, 8, 128, 64]);
    expect(unrepairedMaximumTime).toBeGreaterThan(4 * quickest(() => tf.max(x, -1)));
    x.dispose();
  });
});

describe("repairBackend", () => {
  it("gives wasm the gradient of gather", async () => {
    await tf.setBackend("cpu");
    const gradient = segmentGradient().dataSync();
    await tf.setBackend("wasm");
    expect(repairBackend()).toEqual(expect.arrayContaining(["Tile gradient", "Max gradient", "UnsortedSegmentSum"]));
    expect(relativeError(segmentGradient().dataSync(), gradient)).toBeLessThan(1e-6);
  });

  it("the gradient of max is as before to the bit, faster", async () => {
    await tf.setBackend("wasm");
    expect(maximumGradients()).toEqual(unrepairedMaxima);
    expect(quickest(largeMaximumGradient)).toBeLessThan(unrepairedMaximumTime / 2);
  });

  it("the gradient of tile is as before, in a few kernels", async () => {
    await tf.setBackend("cpu");
    expect(relativeError(tileGradientOf().dataSync(), unrepairedTile)).toBeLessThan(1e-6);
    expect(await kernelsOfTileGradient()).toBeLessThan(20);
  });

  it("cpu: sums as before, in time that does not depend on the number of segments, for ids of any rank", async () => {
    await tf.setBackend("cpu");
    const before = segmentGradient().dataSync();
    expect(repairBackend()).toEqual(["UnsortedSegmentSum"]);
    expect(relativeError(segmentGradient().dataSync(), before)).toBeLessThan(1e-6);
    const x = tf.ones([50, 32]);
    const ids = tf.zeros([50], "int32") as tf.Tensor1D;
    const time = (segments: number): number => quickest(() => tf.unsortedSegmentSum(x, ids, segments));
    expect(time(400)).toBeLessThan(4 * time(20) + 1);
  });
});
