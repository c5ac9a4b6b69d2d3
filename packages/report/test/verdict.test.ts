import type { Evaluation } from "@favor/measure";
import { expect, test } from "vitest";

import { verdict } from "../src/summary.ts";
import type { FavorFile } from "../src/record/favor-file.ts";
import { tuningRecordSchema } from "../src/record/tuning-record.ts";
import type { TuningRecord } from "../src/record/tuning-record.ts";

const estimate = (value: number) => ({ value, low: value, high: value });
const quality = (accuracy: number) => ({ accuracy: estimate(accuracy), perplexity: estimate(2) });
const data = { file: "a", sha256: "b", sequences: 1, tokens: 1, unknown: 0, truncated: 0, seed: 0 };

/** A model of one attention with 64 features per head. */
function file(changes: Partial<FavorFile>): FavorFile {
  const hash = { sha256: "0".repeat(64), bytes: 1 };
  return {
    format: 3,
    versions: {},
    source: { name: "model", model: "model.onnx", ...hash },
    model: { file: "onnx/model.onnx", ...hash },
    options: { features: "landmark", count: 64, seed: 0, keep: [] },
    sites: [
      {
        site: 0,
        layer: 0,
        name: "softmax",
        kind: "self",
        heads: 2,
        keyValueHeads: 2,
        headDim: 8,
        scale: 1,
        mask: { kind: "padding", evidence: "" },
        causal: false,
        state: "linear",
        reasons: [],
        featureMap: { kind: "landmark", width: 64 },
      },
    ],
    notes: [],
    ...changes,
  };
}

function kept(share: number): FavorFile {
  const [original, converted] = [quality(0.8), quality(0.8 * share)];
  return file({
    evaluation: {
      kind: "masked-language",
      data,
      maskedTokens: 9,
      original,
      converted,
      accuracyKept: estimate(share),
      byLength: [],
    },
  });
}

test.each([
  [0.995, "Almost nothing is lost: the model keeps 99.5 % of the original's masked accuracy"],
  [0.96, "Little is lost: "],
  [0.85, "A good part is lost: "],
  [0.2, "Much is lost: the model keeps 20.0 %"],
])("%f of the accuracy in words", (share, beginning) => {
  const said = verdict(kept(share));
  expect(said).toMatch(/^[^.]*(\d\.\d[^.]*)*\.$/);
  expect(said.startsWith(beginning)).toBe(true);
  // 2 L^2 d against 4 L M d: L / 2 M.
  expect(said).toMatch(/; at 2,048 tokens, attention takes 16 times less computation than softmax\.$/);
});

test("what was not measured, and what tuning made", () => {
  expect(verdict(file({}))).toMatch(/^Not measured: nothing is known yet/);
  const measured = { file: "a", sequences: 1, maskedTokens: 9, before: quality(0.4), after: quality(0.78) };
  const tuning = (original?: ReturnType<typeof quality>): FavorFile =>
    file({
      tuning: {
        versions: {},
        settings: {},
        from: "0",
        backend: "wasm",
        data: { file: "a", sha256: "b", records: 1, heldOut: 1 },
        stages: [],
        curve: [],
        measured: { ...measured, ...(original && { original }) },
      },
    });
  expect(verdict(tuning(quality(0.8)))).toMatch(/^Little is lost: after tuning, the model has 97\.5 %/);
  expect(verdict(tuning())).toMatch(
    /^Tuning moved the masked accuracy from 40\.0 % to 78\.0 %; the original was not measured/,
  );
});

function embeddings(cosine: number): Evaluation {
  return {
    kind: "embedding",
    data,
    output: "last_hidden_state",
    similarity: "cosine",
    vectors: 1,
    width: 8,
    cosine: estimate(cosine),
    perSequence: [cosine],
    byLength: [],
  };
}

test("a tuned model of embeddings is judged by its embeddings; older curves are read", () => {
  const tuning: TuningRecord = {
    versions: {},
    settings: {},
    from: "0",
    backend: "wasm",
    data: { file: "a", sha256: "b", records: 1, heldOut: 1 },
    stages: [{ name: "align", steps: 9, kept: 9, learningRate: 1e-4, seconds: 1 }],
    curveOf: "cosine of the embeddings",
    curve: [{ step: 0, value: 0.9 }],
    measured: { file: "a", sequences: 1, before: embeddings(0.9), after: embeddings(0.999) },
  };
  expect(verdict(file({ tuning }))).toMatch(
    /^After tuning, almost nothing is lost: the embeddings have a mean cosine of 0\.999 with the original's;/,
  );
  expect(tuningRecordSchema.parse(tuning)).toEqual(tuning);
  const older = { ...tuning, curve: [{ step: 0, accuracy: 0.9 }] };
  expect(tuningRecordSchema.parse(older).curve).toEqual(tuning.curve);
});

test.each(["exact by block", "band", "unchanged"] as const)("attention that is %s loses nothing", (state) => {
  const exact = file({ options: { features: "exact", count: 64, seed: 0, keep: [] } });
  const [site] = exact.sites;
  const { featureMap: _, ...rest } = site!;
  expect(verdict({ ...exact, sites: [{ ...rest, state }] })).toMatch(/^Nothing is lost: every layer computes/);
  expect(verdict({ ...exact, sites: [{ ...rest, state }, site!] })).toMatch(/^Not measured/);
});

test("softmax as before costs as before", () => {
  expect(verdict(file({ options: { features: "exact", count: 64, seed: 0, keep: [] } }))).not.toContain("computation");
});
