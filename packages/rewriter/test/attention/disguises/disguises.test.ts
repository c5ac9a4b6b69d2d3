import { DataType, encodeModel, type ModelProto } from "@favor/onnx";
import { reEmissionDifference } from "@favor/test-support/layer";
import { openSession } from "@favor/test-support/onnxruntime";
import { Tensor } from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { convertAttention, inspectAttention } from "../../../src/model-attention.ts";
import { genuine } from "./genuine.ts";
import { fedFloats } from "./floats.ts";
import { by, type Disguise, disguisedModel, input, type Normalise, ofKeys } from "./layers.ts";
import { fedNumbers } from "./numbers.ts";
import { probabilitiesThatMatter, sizesThatMatter } from "./sizes.ts";
import { fedTokens } from "./tokens.ts";
import { windows } from "./windows.ts";

// All of these are softmax attention with padding or causal order on short inputs of zeros and ones.

/** Longer than the windows; constants of fewer positions are seen at the second. */
const lengths = [201, 60];

/** What a model makes of one sequence without padding; undefined where it does not take one so long. */
async function run(model: ModelProto, length: number): Promise<Float32Array | undefined> {
  const session = await openSession(encodeModel(model));
  const whole = (of: (i: number) => bigint): Tensor =>
    new Tensor(
      "int64",
      BigInt64Array.from({ length }, (_, i) => of(i)),
      [1, length],
    );
  try {
    const { out } = await session.run({ ids: whole((i) => BigInt((i * i) % 61)), mask: whole(() => 1n) });
    return out!.data as Float32Array;
  } catch {
    return undefined;
  } finally {
    await session.release();
  }
}

const verdicts = (disguise: Disguise): string[] =>
  inspectAttention(disguisedModel(disguise)).sites.map(({ verdict }) => verdict);

describe("attention that changes", () => {
  test.each([...windows, ...sizesThatMatter])("with the distance, the length or the batch: $name", async (disguise) => {
    const [site] = inspectAttention(disguisedModel(disguise)).sites;
    if (site!.verdict === "refuse") return;
    // What is a window or ALiBi all the same is written as that, from what was proved.
    expect(site!.mask.kind === "band" || site!.mask.alibi !== undefined).toBe(true);
    const converted = convertAttention(disguisedModel(disguise), { features: "exact", rows: "proof" }).model;
    for (const length of lengths) {
      const [before, after] = [await run(disguisedModel(disguise), length), await run(converted, length)];
      if (before === undefined) continue;
      expect(Math.max(...before.map((value, i) => Math.abs(value - after![i]!)))).toBeLessThan(1e-4);
      return;
    }
    expect.unreachable("the model runs at one of these lengths");
  });

  test.each([...fedNumbers, ...fedTokens, ...fedFloats])("with what is fed: $name", (disguise) => {
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
