import { DataType } from "@favor/onnx";
import { reEmissionDifference } from "@favor/test-support/layer";
import { describe, expect, test } from "vitest";
import { inspectAttention } from "../../../src/model-attention.ts";
import { genuine } from "./genuine.ts";
import { inputsThatMatter } from "./inputs.ts";
import { by, type Disguise, disguisedModel, input, type Normalise, ofKeys } from "./layers.ts";
import { probabilitiesThatMatter, sizesThatMatter } from "./sizes.ts";
import { windows } from "./windows.ts";

// All of these are softmax attention with padding or causal order on short inputs of zeros and ones.

const verdicts = (disguise: Disguise): string[] =>
  inspectAttention(disguisedModel(disguise)).sites.map(({ verdict }) => verdict);

describe("attention that changes", () => {
  test.each(windows)("with the distance: $name", (disguise) => {
    expect(verdicts(disguise)).toEqual(["refuse"]);
  });

  test.each(inputsThatMatter)("with what is fed: $name", (disguise) => {
    expect(verdicts(disguise)).toEqual(["refuse"]);
  });

  test.each(sizesThatMatter)("with the length or the batch: $name", (disguise) => {
    expect(verdicts(disguise)).toEqual(["refuse"]);
  });

  test.each(probabilitiesThatMatter)("with the logits: $name", (disguise) => {
    expect(verdicts(disguise)).toEqual(["refuse"]);
  });
});

describe("attention that stays the same", () => {
  test.each(genuine)("$name", async (disguise) => {
    expect(verdicts(disguise)).toEqual(["convert"]);
    expect(await reEmissionDifference(() => disguisedModel(disguise), true)).toBeLessThan(1e-4);
  });
});

const hideFractions: Normalise = (b, s) => {
  const hidden = ofKeys(b, b.op("Sub", [b.scalar(1), "soft"]));
  return b.softmax(b.op("Add", [s, by(b, "Mul", hidden, -1e9)]));
};

test("a mask of floats hides a key at any fraction, as the logits do", () => {
  const inputs = [input("soft", DataType.FLOAT, "batch", "length")];
  const [site] = inspectAttention(disguisedModel({ name: "floats", inputs, attend: hideFractions })).sites;
  expect(site).toMatchObject({ verdict: "convert", mask: { kind: "padding" } });
  expect(site!.mask.evidence).toContain("(additive)");
});
