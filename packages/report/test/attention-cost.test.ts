import { expect, test } from "vitest";

import { attentionCost, breakEvenLength } from "../src/attention-cost.ts";

function at(length: number, cost: ReturnType<typeof attentionCost>) {
  return cost.find(([each]) => each === length);
}

test("multiply-adds: 2 L^2 d of softmax, 4 L M d of features, 2 L W d within a window", () => {
  const site = { heads: 3, headDim: 8 };
  const linear = attentionCost([{ ...site, features: 16 }]);
  expect(at(512, linear)).toEqual([512, 3 * 2 * 512 ** 2 * 8, 3 * 4 * 512 * 16 * 8]);
  const window = attentionCost([{ ...site, features: 0, keys: 129 }]);
  expect(at(512, window)).toEqual([512, 3 * 2 * 512 ** 2 * 8, 3 * 2 * 512 * 129 * 8]);
  // A window longer than the sequence is the whole of it.
  const [, softmax, converted] = at(128, window)!;
  expect(converted).toBe(softmax);
});

test("attention breaks even where 2 L^2 d exceeds what replaces it", () => {
  const site = { heads: 3, headDim: 8 };
  // 4 L M d = 2 L^2 d at L = 2 M.
  expect(breakEvenLength([{ ...site, features: 100 }])).toBe(201);
  // Half of the heads stay softmax: the other half still breaks even at the same length.
  expect(
    breakEvenLength([
      { ...site, features: 0 },
      { ...site, features: 100 },
    ]),
  ).toBe(201);
  expect(breakEvenLength([{ ...site, features: 0, keys: 129 }])).toBe(130);
  // 2 L W d + 4 L M d = 2 L^2 d at L = W + 2 M, although shorter inputs than W are as cheap as softmax.
  expect(breakEvenLength([{ ...site, features: 32, keys: 192 }])).toBe(192 + 64 + 1);
  expect(breakEvenLength([{ ...site, features: 0 }])).toBeUndefined();
});
