import * as tf from "@tensorflow/tfjs";
import { expect, test } from "vitest";
import { runsOf, sharedProduct } from "../src/operators/shared-product.ts";
import { onEveryBackend } from "@favor/test-support/backends";

/** Axes of a batch, and those of matrices that broadcast to it. */
const cases: readonly (readonly [string, readonly number[], readonly number[]])[] = [
  ["a weight", [2, 3], []],
  ["a matrix per head", [2, 3], [3]],
  ["a matrix per sequence", [2, 3], [2, 1]],
  ["axes that are merged", [3, 1, 2, 2], [3, 1, 1, 1]],
  ["axes in turns", [2, 3, 2, 3], [1, 3, 1, 3]],
  ["an empty batch", [2, 0], [2, 1]],
];
const both = [false, true];
const forms = both.flatMap((left) => both.flatMap((ofX) => both.map((ofMatrix) => [left, ofX, ofMatrix] as const)));

const [rows, inner, columns] = [4, 5, 6];
const dims = (first: number, second: number, transposed: boolean): number[] =>
  transposed ? [second, first] : [first, second];

onEveryBackend("a product with shared matrices", () => {
  test.each(cases)("%s: as if they were broadcast, one product for each matrix", async (_, batch, own) => {
    for (const [left, ofX, ofMatrix] of forms) {
      const values = left ? dims(inner, columns, ofX) : dims(rows, inner, ofX);
      const matrix = left ? dims(rows, inner, ofMatrix) : dims(inner, columns, ofMatrix);
      const x = tf.randomNormal([...batch, ...values], 0, 1, "float32", 1);
      const matrices = tf.randomNormal([...own, ...matrix], 0, 1, "float32", 2);
      let product = x;
      const { kernels } = await tf.profile(() => {
        const found = sharedProduct(
          { x, transposed: ofX },
          { x: matrices, transposed: ofMatrix, left },
          runsOf(batch, own),
        );
        product = tf.reshape(found, [...batch, rows, columns]);
        return found;
      });
      const spread = tf.add(matrices, tf.zeros([...batch, ...matrix]));
      const direct = left ? tf.matMul(spread, x, ofMatrix, ofX) : tf.matMul(x, spread, ofX, ofMatrix);
      const furthest = Math.max(0, ...tf.abs(tf.sub(product, direct)).dataSync());
      expect(furthest).toBeLessThan(1e-5);
      const made = kernels.filter(({ name }) => name === "BatchMatMul").map(({ outputShapes }) => outputShapes[0]![0]);
      expect(made).toEqual([tf.util.sizeFromShape([...own])]);
      tf.dispose([x, matrices, product, spread, direct]);
    }
  });
});
