import { type ElementwiseFunction, type FeatureMapDescription } from "@favor/core";
import { describe, expect, test } from "vitest";
import { convertAttention } from "../../src/model-attention.ts";
import { featureChoices, keyFactors, type ConvertOptions } from "../../src/options.ts";
import { attentionModel, openAttention, runAttention, type AttentionModel } from "./attention-model.ts";
import { learned, made, momentsOf, projection } from "./made-features.ts";
import { randomInputs, referenceAttention } from "./reference.ts";

const shape = { heads: 2, dim: 8, valueDim: 5 };
const length = 70; // More than a chunk of the causal form, and no multiple of it.

/** The largest difference between a converted attention in onnxruntime and the float64 reference. */
async function differenceOf(model: AttentionModel, options: ConvertOptions, scale: number = 1): Promise<number> {
  const { model: converted, sites } = convertAttention(attentionModel(model), {
    count: 24,
    seed: 3,
    // Queries, keys and values are inputs of their own.
    cross: true,
    ...options,
  });
  expect(sites.map(({ state }) => state)).toEqual(["linear"]);
  const inputs = {
    ...randomInputs(model, 2, length, scale),
    // The second sequence is half padding, the first has a hole; a causal query sees at least one key.
    ...(model.padding && { mask: Float32Array.from({ length: 2 * length }, (_, i) => Number(i !== 5 && i < 105)) }),
  };
  const out = await runAttention(await openAttention(converted), model, inputs);
  const expected = referenceAttention(model, inputs, sites[0]!.featureMaps!);
  expect(out.length).toBe(expected.length);
  return out.reduce((largest, value, i) => Math.max(largest, Math.abs(value - expected[i]!)), 0);
}

const forms: readonly AttentionModel[] = [
  shape,
  { ...shape, padding: true },
  { ...shape, causal: true },
  { ...shape, padding: true, causal: true },
];
const nameOf = ({ padding, causal }: AttentionModel): string =>
  [causal ? "causal" : "bidirectional", ...(padding ? ["padded"] : [])].join(", ");

/** Features of either sign: their normaliser passes through 0, where no two precisions agree. Tested apart. */
const signed: readonly string[] = ["trigonometric", "trigonometric-pair", "cos", "gelu", "identity", "tanh"];

describe.each(forms.map((form): [string, AttentionModel] => [nameOf(form), form]))("%s", (_, form) => {
  const targets: readonly ConvertOptions[] = form.causal ? [{}, { target: "onnxruntime" }] : [{}];

  test.each(featureChoices.filter((choice) => choice !== "exact" && !signed.includes(choice)))(
    "%s equals the float64 reference",
    async (features) => {
      for (const target of targets) expect(await differenceOf(form, { features, ...target })).toBeLessThan(1e-4);
    },
  );

  test.each(Object.keys(made))("%s feature maps made elsewhere equal the float64 reference", async (kind) => {
    const featureMaps = [[0, 1].map((head) => made[kind]!(shape.dim, head))];
    for (const target of targets) expect(await differenceOf(form, { featureMaps, ...target })).toBeLessThan(1e-4);
  });

  test.each(keyFactors)("key factor %s equals the float64 reference", async (keyFactor) => {
    for (const features of ["relu", "exp"] as const) {
      for (const target of targets) {
        expect(await differenceOf(form, { features, keyFactor, ...target })).toBeLessThan(1e-4);
      }
      // h spans more than float32 does
      expect(await differenceOf(form, { features, keyFactor }, 6)).toBeLessThan(1e-3);
    }
  });

  test.each(["phase", "pair"] as const)("trigonometric features, %s, equal the reference", async (variant) => {
    const featureMaps = [
      [0, 1].map((head): FeatureMapDescription => ({
        version: 1,
        kind: "trigonometric",
        variant,
        projection: projection(shape.dim, head),
      })),
    ];
    // Small queries: all attention is about even, and the normaliser far from 0.
    expect(await differenceOf(form, { featureMaps }, 0.05)).toBeLessThan(1e-4);
  });

  test.each(["cos", "gelu", "identity", "tanh"] as const)("%s equals the reference", async (name) => {
    const featureMaps = [[0, 1].map((head) => generalized(name, head))];
    expect(await differenceOf(form, { featureMaps }, 0.3)).toBeLessThan(1e-4);
  });
});

/** An epsilon that lifts features of either sign above 0. */
function generalized(name: ElementwiseFunction, head: number): FeatureMapDescription {
  return { version: 1, kind: "generalized", function: name, epsilon: 12, projection: projection(shape.dim, head) };
}

test.each(["orthogonal", "iid", "hadamard", "givens"] as const)("%s projections", async (kind) => {
  expect(await differenceOf(shape, { projection: kind })).toBeLessThan(1e-4);
});

test("trigonometric-pair is the variant of the paper with cosines and sines", async () => {
  const { sites } = convertAttention(attentionModel(shape), { features: "trigonometric-pair", count: 8, cross: true });
  expect(sites[0]!.featureMaps![0]).toMatchObject({ kind: "trigonometric", variant: "pair" });
  expect(await differenceOf(shape, { features: "trigonometric-pair" }, 0.05)).toBeLessThan(1e-4);
});

test("weights of features that span more than float32 does", async () => {
  const featureMaps = [
    [0, 1].map((head): FeatureMapDescription => ({
      version: 1,
      kind: "oprf",
      projection: projection(shape.dim, head),
      a: -4,
    })),
  ];
  for (const form of forms) expect(await differenceOf(form, { featureMaps }, 3)).toBeLessThan(1e-4);
});

test("statistics choose the exponents of FAVOR++ and FAVOR#", () => {
  const moments = [[momentsOf(shape.dim, 0).moments, momentsOf(shape.dim, 1).moments]];
  for (const features of ["oprf", "dense-exponential"] as const) {
    const { sites } = convertAttention(attentionModel(shape), { features, moments, cross: true });
    const exponents = sites[0]!.featureMaps!.map((map) => ("a" in map ? [map.a].flat() : []));
    for (const a of exponents.flat()) {
      expect(a).toBeLessThan(0);
      expect(a).toBeGreaterThan(-2);
    }
    expect(exponents[0]).not.toEqual(exponents[1]);
  }
});

test("a query whose features are all 0 gets 0, not NaN", async () => {
  const { model } = convertAttention(attentionModel(shape), { features: "squared-relu", cross: true });
  const inputs = randomInputs(shape, 1, 4);
  inputs.query.fill(-1, 0, shape.dim);
  const out = await runAttention(await openAttention(model), shape, inputs);
  expect(Array.from(out.subarray(0, 5))).toEqual([0, 0, 0, 0, 0]);
  expect(out.every(Number.isFinite)).toBe(true);
});

const convert = (options: ConvertOptions) => () => convertAttention(attentionModel(shape), { cross: true, ...options });

const positive = (count: number): FeatureMapDescription => ({
  version: 1,
  kind: "positive",
  projection: { ...projection(shape.dim, 0), count },
});

describe("refused", () => {
  test("feature maps of another number of heads or another dimension", () => {
    expect(convert({ featureMaps: [[learned(shape.dim, 0)]] })).toThrow(
      expect.objectContaining({ code: "calibration-mismatch", message: expect.stringContaining("2 heads of 8") }),
    );
    const narrow: FeatureMapDescription = { version: 1, kind: "elu", dim: 4 };
    expect(convert({ featureMaps: [[narrow, narrow]] })).toThrow(/2 heads of 4/);
  });

  test("heads of one site with different kinds or widths", () => {
    expect(convert({ featureMaps: [[positive(8), learned(shape.dim, 1)]] })).toThrow(
      /head 0 has positive 8, head 1 has linear/,
    );
    expect(convert({ featureMaps: [[positive(8), positive(16)]] })).toThrow(/positive 8, head 1 has positive 16/);
  });

  test("features and projections of no known name", () => {
    expect(convert({ features: "relu", keyFactor: "norm" as "exp-half-square" })).toThrow(/one of exp-half-square/);
    expect(convert({ keyFactor: "exp-half-square" })).toThrow(/none with "positive" features; it is for relu, exp/);
    expect(convert({ features: "softmax" as "relu" })).toThrow(/one of positive, trigonometric/);
    expect(convert({ projection: "sparse" as "iid" })).toThrow(/one of orthogonal, iid, hadamard, givens/);
  });
});
