import { expect, test } from "vitest";

import { sampleOf, sampleWithLongest } from "../../src/data/sample.ts";

async function* stream(items: readonly number[]): AsyncGenerator<number, void> {
  yield* items;
}

const itself = (length: number): number => length;

/** 1,000 lengths from 1 to 50, with three long ones among them. */
const lengths = Array.from({ length: 1000 }, (_, i) => 1 + ((i * 37) % 50));
lengths.splice(200, 1, 900);
lengths.splice(500, 1, 700);
lengths.splice(950, 1, 800);

test("the longest are in the sample, in the items' order, and the rest is drawn", async () => {
  const { sample, added } = await sampleWithLongest(stream(lengths), 150, itself, 0);
  expect(sample).toHaveLength(150);
  expect(sample.filter((length) => length > 50)).toEqual([900, 700, 800]);
  const drawn = await sampleOf(stream(lengths), 150, 0);
  expect(added).toBe(3 - drawn.filter((length) => length > 50).length);
  expect(added).toBeGreaterThan(0);
  // One stays for each that is drawn, except those that made place.
  const isIn = new Map<number, number>();
  for (const length of drawn) isIn.set(length, (isIn.get(length) ?? 0) + 1);
  for (const length of sample) isIn.set(length, (isIn.get(length) ?? 0) - 1);
  expect([...isIn.values()].reduce((sum, count) => sum + Math.max(0, count), 0)).toBe(added);
  expect((await sampleWithLongest(stream(lengths), 150, itself, 0)).sample).toEqual(sample);
});

test("a file that is shorter than the sample is taken whole", async () => {
  expect(await sampleWithLongest(stream([3, 1, 2]), 5, itself, 0)).toEqual({ sample: [3, 1, 2], added: 0 });
  expect((await sampleWithLongest(stream(lengths), 1, itself, 0)).sample).toEqual([900]);
});
