import { expect, test } from "vitest";

import { settingsOf } from "../src/settings.ts";

const request = { source: "converted", data: "data.txt", teacher: "original" } as const;
const embedding = { width: 384, kind: "embedding" } as const;

test("the learning rate of alignment is not that of distillation, whose unit is another", () => {
  const { distill, align } = settingsOf({ ...request, learningRate: 1e-5 }, embedding);
  expect([distill.peak, align.peak]).toEqual([0.05, 1e-5]);
  const both = settingsOf({ ...request, distillLearningRate: 0.02 }, embedding);
  expect(both.distill.peak).toBe(0.02);
  expect(both.align.peak).toBeCloseTo(0.0128 / 384, 12);
});

test("distillation alone takes either, but not both", () => {
  const alone = { ...request, stage: "distill" } as const;
  expect(settingsOf({ ...alone, learningRate: 0.01 }).distill.peak).toBe(0.01);
  expect(() => settingsOf({ ...alone, learningRate: 0.01, distillLearningRate: 0.02 })).toThrow(/give one of them/);
  expect(() => settingsOf({ ...request, stage: "align", distillLearningRate: 0.02 })).toThrow(
    /needs the stage distill/,
  );
});
