import * as tf from "@tensorflow/tfjs";
import { describe, expect, it } from "vitest";
import { repairBackend } from "../../src/index.ts";
import { version } from "@favor/test-support/backends";
import { gaussians } from "../ops/samples.ts";
import { quickest } from "./processor-time.ts";

// The order matters: first what tfjs does by itself, then the repair.
const tiles: [shape: number[], reps: number[]][] = [
  [[5], [3]],
  [
    [1, 3],
    [4, 1],
  ],
  [
    [2, 1],
    [1, 5],
  ],
  [
    [2, 3],
    [1, 3],
  ],
  [
    [2, 3, 2],
    [3, 2, 5],
  ],
  [
    [2, 1, 3, 2],
    [1, 7, 1, 2],
  ],
];
const slices: [shape: number[], begin: number[], size: number[]][] = [
  [[7], [2], [3]],
  [
    [5, 4],
    [1, 0],
    [3, 4],
  ],
  [
    [5, 4],
    [1, 1],
    [3, 2],
  ],
  [
    [3, 4, 5],
    [1, 2, 0],
    [2, 1, 5],
  ],
  [
    [3, 4, 5, 2],
    [0, 1, 2, 0],
    [3, 2, 2, 2],
  ],
  [
    [2, 3, 2, 3, 4],
    [1, 0, 1, 1, 0],
    [1, 3, 1, 2, 3],
  ],
  [
    [3, 4],
    [1, 2],
    [0, 2],
  ],
];
const copies = (): tf.Tensor[] => [
  ...tiles.map(([shape, reps]) => tf.tile(tf.tensor(gaussians(tf.util.sizeFromShape(shape), 6), shape), reps)),
  ...slices.map(([shape, begin, size]) =>
    tf.slice(tf.tensor(gaussians(tf.util.sizeFromShape(shape), 7), shape), begin, size),
  ),
  ...[0, 2, 4].flatMap((axis) => tf.split(tf.tensor(gaussians(2 * 3 * 4 * 5 * 6, 8), [2, 3, 4, 5, 6]), 2, axis)),
  ...tf.split(tf.tensor(gaussians(2 * 5 * 3, 9), [2, 5, 3]), [1, 3, 1], 1),
  tf.slice(tf.tensor1d([1, 2, 3], "int32"), 1, 2),
  tf.tile(tf.tensor1d([true, false], "bool"), [3]),
  tf.slice(tf.tensor1d(["a", "b"], "string"), 1, 1),
];

/** A small part, and a long repetition. */
const smallSlice = (x: tf.Tensor) => (): tf.Tensor => tf.slice(x, 7, 2);
const longTile = (): tf.Tensor => tf.tidy(() => tf.tile(tf.ones([1, 512, 1]), [1, 1, 512]));
let unrepairedCopies: number[] = [];

describe("what tfjs 4.22 lacks; if one of these fails, tfjs has mended it: drop that repair", () => {
  it("wasm: slice takes time in proportion to its input; tile is slow", async () => {
    await tf.setBackend("wasm");
    expect(version).toBe("4.22.0");
    const [short, long] = [tf.ones([2 ** 10]), tf.ones([2 ** 22])];
    unrepairedCopies = [quickest(smallSlice(long)), quickest(longTile)];
    expect(unrepairedCopies[0]).toBeGreaterThan(4 * quickest(smallSlice(short)));
    tf.dispose([short, long]);
  });
});

describe("repairBackend", () => {
  it("copies by slice and tile on wasm as the reference does, faster", async () => {
    await tf.setBackend("cpu");
    const expected = copies();
    await tf.setBackend("wasm");
    expect(repairBackend()).toEqual(expect.arrayContaining(["Slice", "SplitV", "Tile"]));
    for (const [i, x] of copies().entries()) {
      expect(x.shape).toEqual(expected[i]!.shape);
      expect(x.dataSync()).toEqual(expected[i]!.dataSync());
    }
    expect(() => tf.slice(tf.ones([3]), 2, 2)).toThrow(/begin.*size/);
    const long = tf.ones([2 ** 22]);
    expect(quickest(smallSlice(long))).toBeLessThan(unrepairedCopies[0]! / 4);
    expect(quickest(longTile)).toBeLessThan(unrepairedCopies[1]! / 1.5);
    long.dispose();
  });
});
