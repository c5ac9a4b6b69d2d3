import { expect, test } from "vitest";

import type { LoadedSequences } from "@favor/measure/tokens";

import { unknownLengths } from "../src/commands/unknown-lengths.ts";

/** Data with sequences of these lengths in tokens. */
function ofLengths(...lengths: readonly number[]): LoadedSequences {
  const sequences = lengths.map((length, line) => ({ ids: Array.from({ length }, () => 7), line, unknown: 0 }));
  const use = { file: "a", sha256: "b", sequences: 1, tokens: 1, unknown: 0, truncated: 0, seed: 0 };
  return { sequences, use };
}

test("data that are shorter than the model's inputs leave lengths unknown", () => {
  const [both] = unknownLengths({ calibration: ofLengths(3, 90), evaluation: ofLengths(60, 5) }, 512);
  expect(both).toMatch(
    /^The conversion was calibrated on sequences of at most 90 tokens and measured on sequences of at most 60 tokens, and the model takes up to 512 tokens: nothing is known of its quality beyond 60\./,
  );
  const [unlimited] = unknownLengths({ calibration: undefined, evaluation: ofLengths(60) }, undefined);
  expect(unlimited).toMatch(
    /^The conversion was measured on sequences of at most 60 tokens, and the model takes sequences of any length: /,
  );
  const [calibrated] = unknownLengths({ calibration: ofLengths(60), evaluation: undefined }, 100);
  expect(calibrated).toMatch(/^The conversion was calibrated on sequences of at most 60 tokens, and the model takes/);
});

test("data of the model's length, or no data, leave nothing to say", () => {
  expect(unknownLengths({ calibration: ofLengths(512), evaluation: ofLengths(470) }, 512)).toEqual([]);
  expect(unknownLengths({ calibration: undefined, evaluation: undefined }, 512)).toEqual([]);
});
