import { expect, test } from "vitest";
import { favorFileSchema } from "../src/record/favor-file.ts";

const site = (state: string) => ({
  site: 0,
  layer: 0,
  name: "Softmax",
  kind: "self",
  heads: 2,
  keyValueHeads: 2,
  headDim: 16,
  scale: 0.25,
  mask: { kind: "none", evidence: "" },
  causal: false,
  state,
  reasons: [],
});

const former = (features: string) => ({
  format: 1,
  versions: {},
  source: { name: "m", model: "model.onnx", sha256: "", bytes: 1 },
  model: { file: "model.onnx", sha256: "", bytes: 1 },
  options: { features, count: 256, seed: 0, keep: [] },
  sites: ["converted", "kept", "refused"].map(site),
  notes: [],
});

test.each([
  ["positive", "linear"],
  ["exact", "exact by block"],
])("format 1 with %s features is read as format 3", (features, state) => {
  const { format, sites } = favorFileSchema.parse(former(features));
  expect(format).toBe(3);
  expect(sites.map((each) => [each.state, each.because])).toEqual([
    [state, undefined],
    ["unchanged", "kept"],
    ["unchanged", "refused"],
  ]);
});

test("format 2 is read as format 3, with one state per site and no other", () => {
  const file = { ...former("positive"), format: 2, sites: [site("linear")] };
  const { format, sites } = favorFileSchema.parse(file);
  expect([format, sites[0]!.state]).toEqual([3, "linear"]);
  expect(favorFileSchema.safeParse({ ...file, sites: [site("converted")] }).success).toBe(false);
});

test("format 3 has a site's exact keys", () => {
  const exactKeys = { window: 64, chosenBlocks: 8, group: 16 };
  const file = { ...former("positive"), format: 3, sites: [{ ...site("linear"), exactKeys }] };
  expect(favorFileSchema.parse(file).sites[0]!.exactKeys).toEqual(exactKeys);
});
