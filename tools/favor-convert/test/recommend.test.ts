import { expect, test } from "vitest";

import { recommend } from "../src/advise/recommend.ts";
import type { Measured } from "../src/advise/recommend.ts";
import { divideSequences } from "../src/advise/sample.ts";
import { commandOf, variantsFor } from "../src/advise/variants.ts";

const weights = { lengths: [512, 4096], budget: 1, isKnown: true };

/** A row that takes so many seconds and megabytes at 4,096 tokens; `loss` undefined: lossless. */
function row(name: string, seconds: number | undefined, megabytes: number, loss?: number): Measured {
  const cost = seconds === undefined ? undefined : { seconds, peakBytes: 1e6 * megabytes };
  return { name, isLossless: loss === undefined, ...(loss !== undefined && { loss }), costs: [cost, cost] };
}

const original = row("original", 10, 1000);

test("the fastest within the budget is recommended", () => {
  const rows = [original, row("exact", 9.5, 900), row("lossy", 2, 900, 1.01), row("good", 4, 900, 0.9)];
  expect(recommend(rows, weights)).toMatchObject({ row: { name: "good" } });
  expect(recommend(rows, { ...weights, budget: 2 })).toMatchObject({ row: { name: "lossy" } });
});

test("of those about as fast, the one that loses least", () => {
  const rows = [original, row("good", 4, 900, 0.9), row("better", 4.3, 900, 0.1), row("best", 4.5, 900, 0)];
  expect(recommend(rows, weights)!.row.name).toBe("better");
});

test("a model stays as it is if nothing is faster, unless memory is what it takes", () => {
  const rows = [original, row("exact", 9.5, 900)];
  expect(recommend(rows, weights)!.row.name).toBe("original");
  expect(recommend([original, row("exact", 10.5, 300)], weights)).toMatchObject({
    row: { name: "exact" },
    reason: expect.stringContaining("0.3 of the memory"),
  });
  expect(recommend([original, row("exact", 12, 300)], weights)!.row.name).toBe("original");
});

test("a quality that is not known recommends nothing, and is told", () => {
  const rows = [original, row("exact", 8, 900), row("fast", 2, 900, 0)];
  const chosen = recommend(rows, { ...weights, isKnown: false })!;
  expect(chosen.row.name).toBe("exact");
  expect(chosen.reason).toContain('"fast" would take 0.25 of its time, but its quality at this length is not known');
  const { loss: _, ...unmeasured } = row("fast", 2, 900, 0);
  expect(recommend([original, { ...unmeasured, isLossless: false }], weights)!.reason).toContain("not known");
});

test("an original that does not fit into memory leaves the others", () => {
  const chosen = recommend([row("original", undefined, 0), row("exact", 9, 500)], weights)!;
  expect(chosen.row.name).toBe("exact");
  expect(chosen.reason).toContain("does not fit into this machine's memory; this takes 500 MB");
  expect(recommend([row("original", undefined, 0)], weights)).toBeUndefined();
});

const use = { file: "data", sha256: "", sequences: 0, tokens: 0, unknown: 0, truncated: 0, seed: 0 };

test("windows of a document are on one side, each side has its longest sequence, and both are limited by cost", () => {
  const sequences = Array.from({ length: 400 }, (_, i) => ({
    ids: Array.from({ length: i === 399 || i === 398 ? 500 : 100 }, () => 1),
    line: Math.floor(i / 2),
    unknown: 0,
  }));
  const { calibration, evaluation } = divideSequences({ sequences, use }, (tokens) => tokens * 1e8);
  const lines = (part: typeof calibration): Set<number> => new Set(part.sequences.map(({ line }) => line));
  const own = lines(calibration);
  expect([...lines(evaluation)].filter((line) => own.has(line))).toEqual([]);
  expect(calibration.use).toMatchObject({ sequences: calibration.sequences.length, tokens: 5000 });
  expect(Math.max(...calibration.sequences.map(({ ids }) => ids.length))).toBe(500);
  expect(Math.max(...evaluation.sequences.map(({ ids }) => ids.length))).toBe(100);
  // However dear: enough to say anything.
  const dear = divideSequences({ sequences, use }, () => 1e15);
  expect([dear.calibration.sequences.length, dear.evaluation.sequences.length]).toEqual([8, 4]);
});

test("the windows of a single document are divided, too", () => {
  const sequences = Array.from({ length: 10 }, () => ({ ids: [1, 2, 3], line: 1, unknown: 0 }));
  const { calibration, evaluation } = divideSequences({ sequences, use }, () => 1);
  expect([calibration.sequences.length, evaluation.sequences.length]).toEqual([5, 5]);
});

test("windows are tried where there are some, and only what is possible", () => {
  const sites = [
    { layer: 0, possible: ["linear", "exact by block"] },
    { layer: 1, possible: ["band", "exact by block"] },
  ] as const;
  const windows = variantsFor(sites, false).find(({ name }) => name.startsWith("windows"))!;
  expect(windows).toMatchObject({ isLossless: true, request: { keep: [0] } });
  const given = { source: "my model", data: "it's.txt", maxLength: 4096 };
  expect(commandOf(windows, given)).toBe("favor-convert 'my model' -o <folder> --keep 0 --max-length 4096");
  const near = { request: { window: 64, count: 32 }, isLossless: false };
  expect(commandOf(near, { ...given, maxLength: undefined })).toBe(
    String.raw`favor-convert 'my model' -o <folder> --window 64 --count 32 --calibrate 'it'\''s.txt'`,
  );
  expect(variantsFor([{ layer: 0, possible: ["exact by block"] }], true).map(({ isLossless }) => isLossless)).toEqual([
    true,
    true,
  ]);
  expect(variantsFor([{ layer: 0, possible: [] }], true)).toEqual([]);
});
