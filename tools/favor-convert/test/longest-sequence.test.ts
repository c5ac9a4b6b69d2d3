import type { Source } from "@favor/checkpoints/node";
import { expect, test } from "vitest";

import { longestSequence } from "../src/commands/longest-sequence.ts";

const sourceOf = (config: Source["config"]): Source => ({ config }) as Source;

test("data are windows of what the graph holds, or else of what the configuration says", () => {
  const rotary = sourceOf({ model_type: "modernbert", max_position_embeddings: 8192 });
  expect(longestSequence(rotary, 512, {})).toEqual({ maximumTokens: 512, longer: "windows" });
  expect(longestSequence(rotary, "unlimited", {})).toEqual({ maximumTokens: 8192, longer: "windows" });
  expect(longestSequence(rotary, "unlimited", { maxLength: 4096 }).maximumTokens).toBe(4096);
  expect(longestSequence(sourceOf({}), "unlimited", { truncate: true })).toEqual({
    maximumTokens: undefined,
    longer: "cut",
  });
});
