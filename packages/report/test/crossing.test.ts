import { expect, test } from "vitest";

import { describeCrossing } from "../src/crossing.ts";

const cost = (seconds: number) => ({ seconds, peakBytes: 1 });

/** Times by length: of the original, and of the converted model. */
function said(...times: (readonly [length: number, original: number, converted: number])[]): string {
  return describeCrossing({
    lengths: times.map(([length, original, converted]) => ({
      length,
      original: cost(original),
      converted: cost(converted),
    })),
  });
}

test("lines of the logarithms cross where they do", () => {
  // L^2 and 512 L cross at 512, whatever lies between.
  expect(said([128, 128 ** 2, 512 * 128], [4096, 4096 ** 2, 512 * 4096])).toContain("at about 510 tokens");
  // In any order, and from the last length at which it is slower.
  expect(said([400, 2, 1], [100, 1, 2], [50, 2, 1])).toContain(
    "at about 200 tokens (between the measured 100 and 400)",
  );
});

test("without a crossing, what was seen", () => {
  expect(said([64, 2, 1], [128, 4, 2])).toBe("The converted model is faster at every measured length.");
  expect(said([64, 1, 2], [128, 2, 2])).toBe("The converted model is not faster yet at 128 tokens.");
});
