import { describe, expect, it } from "vitest";
import { convertAttention, inspectAttention } from "@favor/rewriter";
import { elementType, modelGraphs } from "@favor/onnx";
import type { ModelProto } from "@favor/onnx";
import {
  cases,
  largestDifference,
  modelOf,
  openInRuntime,
  readConfiguration,
  readSample,
  readWeights,
  runSample,
} from "./checkpoints.ts";

/** Layers of a case; of ModernBERT's four the middle two see a window only. */
const layersOf = (name: string): number => (name.startsWith("albert") ? (name === "albert-token" ? 4 : 8) : 2);
const isModern = (name: string): boolean => name.startsWith("modernbert");

describe.each(cases)("%s", (name) => {
  it("computes what transformers computes", async () => {
    const model = modelOf(readConfiguration(name), readWeights(name));
    const sample = readSample(name);
    const session = await openInRuntime(model);
    expect(largestDifference(await runSample(session, sample), sample)).toBeLessThan(1e-4);
  });

  it("has the inputs, outputs and types that transformers.js expects", () => {
    const model = modelOf(readConfiguration(name), readWeights(name));
    const { input, output, initializer } = model.graph;
    const hasTypes = /^(bert|albert|electra)-/.test(name);
    expect(input.map((value) => value.name)).toEqual([
      "input_ids",
      "attention_mask",
      ...(hasTypes ? ["token_type_ids"] : []),
    ]);
    for (const { type } of input) {
      const dims = type!.tensorType!.shape!.dim.map((dim) => dim.dimParam);
      expect(dims).toEqual(["batch_size", "sequence_length"]);
    }
    expect(output.map((value) => value.name)).toEqual([readSample(name).output.name]);
    const types = new Set(initializer.map((tensor) => elementType(tensor.dataType)!.name));
    expect([...types].toSorted()).toEqual(["FLOAT", "INT64"]);
    expect(modelGraphs(model)).toHaveLength(1);
  });
});

/** The backbones, once each. */
const backbones = cases.filter((name) => name.endsWith("-mlm") || name === "esm-absolute");

describe.each(backbones)("%s, converted", (name) => {
  it("every attention is found, and replaced in memory", async () => {
    const build = (): ModelProto => modelOf(readConfiguration(name), readWeights(name));
    const { sites } = inspectAttention(build());
    const windows = sites.filter(({ mask }) => mask.band);
    expect(sites).toHaveLength(isModern(name) ? 4 : layersOf(name));
    expect(sites.filter((site) => site.reasons.length > 0)).toEqual([]);
    expect(windows.map((site) => site.site)).toEqual(isModern(name) ? [1, 2] : []);

    const sample = readSample(name);
    const exact = convertAttention(build(), { features: "exact" });
    const session = await openInRuntime(exact.model);
    expect(largestDifference(await runSample(session, sample), sample)).toBeLessThan(1e-4);

    const linear = convertAttention(build(), { features: "relu", count: 64 });
    expect(linear.sites.filter((site) => site.state === "linear")).toHaveLength(sites.length - windows.length);
    expect(linear.model.graph.node.filter((node) => node.opType === "Softmax")).toHaveLength(windows.length);
    const outputs = await runSample(await openInRuntime(linear.model), sample);
    const found = outputs[sample.output.name]!;
    expect(found.dims).toEqual(sample.output.dims);
    expect((found.data as Float32Array).every(Number.isFinite)).toBe(true);
  });
});
