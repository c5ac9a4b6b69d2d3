import type { FeatureMapDescription } from "@favor/core";
import { calibrate, fitLandmarks, MomentAccumulator } from "@favor/core/calibration";
import { describe, expect, test } from "vitest";
import { convertAttention } from "../../src/model-attention.ts";
import type { ConvertOptions } from "../../src/options.ts";
import {
  attentionModel,
  openAttention,
  runAttention,
  type AttentionInputs,
  type AttentionModel,
} from "./attention-model.ts";
import { gaussians, randomInputs, referenceAttention } from "./reference.ts";

const shape = { heads: 3, dim: 4, valueDim: 3, slopes: [0.5, 0.0625, 0.00390625] };
const forms: readonly AttentionModel[] = [
  shape,
  { ...shape, padding: true },
  { ...shape, causal: true },
  { ...shape, padding: true, causal: true },
];
const nameOf = ({ padding, causal }: AttentionModel): string =>
  [causal ? "causal" : "bidirectional", ...(padding ? ["padded"] : [])].join(", ");

const cases = forms.map((form) => [nameOf(form), form] as const);

function convert(form: AttentionModel, options: ConvertOptions = {}): ReturnType<typeof convertAttention> {
  // Queries, keys and values are inputs of their own.
  const converted = convertAttention(attentionModel(form), { count: 12, seed: 3, cross: true, ...options });
  expect(converted.sites).toMatchObject([{ state: "linear", mask: { alibi: { slopes: shape.slopes } } }]);
  return converted;
}

/** Every sequence has a hole; all but the first of a batch end in padding. */
function inputsOf(form: AttentionModel, batch: number, length: number, scale = 1): AttentionInputs {
  const keeps = (i: number): boolean =>
    i % length !== 5 && (i < length || i % length < 0.7 * length || i % length === 0);
  const mask = Float32Array.from({ length: batch * length }, (_, i) => Number(keeps(i)));
  return { ...randomInputs(form, batch, length, scale), ...(form.padding && { mask }) };
}

const largest = (a: Float32Array, b: ArrayLike<number>): number =>
  a.reduce((most, value, i) => (Math.abs(value - b[i]!) <= most ? most : Math.abs(value - b[i]!)), 0);

/** A description for each head, from its own queries and keys. */
const maps = (of: (moments: MomentAccumulator, rows: (seed: number) => Float64Array) => FeatureMapDescription) => [
  shape.slopes.map((_slope, head) => {
    const moments = new MomentAccumulator(shape.dim);
    const rows = (seed: number): Float64Array =>
      Float64Array.from(gaussians(200 * shape.dim, 10 * head + seed), (x, i) => 0.6 * x + 0.2 * (i % 3));
    moments.add(rows(1), rows(2));
    return of(moments, rows);
  }),
];

describe.each(cases)("ALiBi in onnxruntime is the float64 reference, %s", (_, form) => {
  test("at every length, and with large queries", async () => {
    const { model, sites } = convert(form);
    const session = await openAttention(model);
    for (const length of [1, 2, 63, 64, 65, 200, 4096]) {
      const inputs = inputsOf(form, length < 4096 ? 2 : 1, length);
      const out = await runAttention(session, form, inputs);
      expect(largest(out, referenceAttention(form, inputs, sites[0]!.featureMaps!)), `at ${length}`).toBeLessThan(2e-5);
    }
    const large = inputsOf(form, 2, 200, 8);
    const out = await runAttention(session, form, large);
    expect(largest(out, referenceAttention(form, large, sites[0]!.featureMaps!)), "large").toBeLessThan(1e-3);
  });

  test("with features that are calibrated, and landmarks", async () => {
    const options = { count: 12, seed: 3 };
    for (const featureMaps of [
      maps((moments) => calibrate(moments.moments(), options)),
      maps((moments, rows) => fitLandmarks([{ query: rows(1), key: rows(2) }], moments.moments(), options)),
    ]) {
      const { model } = convert(form, { featureMaps });
      const inputs = inputsOf(form, 2, 150);
      const out = await runAttention(await openAttention(model), form, inputs);
      expect(largest(out, referenceAttention(form, inputs, featureMaps[0]!))).toBeLessThan(1e-4);
    }
  });
});

test.each([
  { ...shape, heads: 1, slopes: [0.7], padding: true },
  { ...shape, heads: 1, slopes: [0.7], causal: true },
])("over 65,536 tokens, causal: $causal", async (form) => {
  const { model, sites } = convertAttention(attentionModel(form), { count: 8, cross: true });
  const inputs = inputsOf(form, 1, 65_536);
  const out = await runAttention(await openAttention(model), form, inputs);
  expect(largest(out, referenceAttention(form, inputs, sites[0]!.featureMaps!))).toBeLessThan(2e-5);
});

test("a target's own operator cannot fade, so that causal ALiBi is written in standard operators", () => {
  const { model } = convert({ ...shape, causal: true }, { target: "onnxruntime" });
  expect(model.graph.node.map(({ opType }) => opType)).not.toContain("LinearAttention");
});

test.each(["trigonometric", "elu", "squared-relu", "relu", "exp"] as const)(
  "%s features are refused by name",
  (features) => {
    expect(() => convertAttention(attentionModel(shape), { features, count: 8, cross: true })).toThrow(
      expect.objectContaining({ code: "features-cannot-fade" }),
    );
  },
);
