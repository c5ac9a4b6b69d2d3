import { join } from "node:path";

import { calibration, tiny, validation } from "@favor/test-support/antibody";
import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { afterEach, expect, test, vi } from "vitest";

import { convert } from "../src/commands/convert.ts";

// Every way to search a model for attention and to prove it.
const searches = vi.hoisted(() => {
  const state = { count: 0 };
  const counted =
    <A extends unknown[], R>(search: (...given: A) => R) =>
    (...given: A): R => {
      state.count++;
      return search(...given);
    };
  return { state, counted };
});
vi.mock("@favor/rewriter", async (original) => {
  const rewriter = await original<typeof import("@favor/rewriter")>();
  const { counted } = searches;
  return {
    ...rewriter,
    findAttention: counted(rewriter.findAttention),
    inspectAttention: counted(rewriter.inspectAttention),
    convertAttention: counted(rewriter.convertAttention),
  };
});

afterEach(() => {
  searches.state.count = 0;
});

const data = { calibrate: calibration, calibrateCount: 8, evaluate: validation, evaluateCount: 8, count: 16 };

test("attention is found and proved once in a calibrated conversion", async () => {
  const output = join(await temporaryFolder(), "linear");
  await convert({ source: tiny, output, ...data });
  expect(searches.state.count).toBe(1);
});

test("attention is found and proved once, however many conversions a budget takes", async () => {
  const output = join(await temporaryFolder(), "linear");
  const { sites } = await convert({ source: tiny, output, ...data, features: "positive", seeds: 1, budget: 6 });
  // The budget keeps some of the four layers, so there was more than one conversion.
  expect(sites.map(({ because }) => because)).toContain("kept");
  expect(searches.state.count).toBe(1);
});
