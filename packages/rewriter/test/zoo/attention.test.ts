import { describe, expect, test } from "vitest";
import { convertAttention, inspectAttention } from "../../src/model-attention.ts";
import type { ValueInfoProto } from "@favor/onnx";
import type { SiteReport } from "../../src/report.ts";
import { writeModel } from "@favor/onnx/node";
import { folderOfEachTest } from "@favor/test-support/temporary-folder";
import { openSession } from "@favor/test-support/onnxruntime";
import { coreZoo, sharedZoo, type ZooFolder } from "@favor/test-support/zoo/folder";
import { withModel } from "@favor/test-support/zoo/model";
import { readProcessorSample } from "@favor/test-support/zoo/processor-sample";
import { validDifference } from "@favor/test-support/zoo/sample";
import type { ZooAttention, ZooEntry } from "@favor/test-support/zoo/manifest";

/** Some layers stay, the others are converted: which, the manifest says in words only. */
const mixedLayers: ReadonlyMap<string, number> = new Map([["mixed-ts-op17-dyn", 1]]);
/** Attention within a window, which the manifest says linear attention must refuse: it is written exactly. */
const windows: ReadonlyMap<string, number> = new Map([
  ["neg_window-dy-op18-dyn", 3],
  ["modernbert-ts-eager-op14-dyn", 4],
]);
/** ALiBi, which the manifest says linear attention must refuse: keys fade with their distance. */
const alibi: ReadonlyMap<string, readonly number[]> = new Map([
  ["bloom-dy-eager-op18-dyn", [0.0625, 0.00390625]],
  ["xtrans_alibi-ts-op17-fix", [0.0625, 0.00390625]],
]);
/** Entries that the manifest lets a tool convert or refuse: quantisation stands inside the attention. */
const eitherWay = /qdq/;
/** onnxruntime has no kernels for it. */
const notRunnable = new Set(["bert-ts113-eager-op16-bf16"]);

/** Every refusal says what becomes of the layer, or what a person can do. */
const effectOrAdvice = /stays (softmax|as it is)|[Ee]xport the model|Convert the float model/;

const isRefused = (entry: ZooEntry): boolean =>
  entry.verdict.startsWith("refuse") && !windows.has(entry.name) && !alibi.has(entry.name);

const signature = (values: readonly ValueInfoProto[]): unknown =>
  values.map(({ name, type }) => [
    name,
    type?.tensorType?.elemType,
    type?.tensorType?.shape?.dim.map((dim) => dim.dimParam || dim.dimValue?.toNumber()),
  ]);

/** Sites that convert, and all sites, as the manifest has them. */
function expectedCounts(entry: ZooEntry, converted: number, all: number): [number, number] {
  const mixed = mixedLayers.get(entry.name);
  if (mixed !== undefined) return [mixed, all];
  if (eitherWay.test(entry.name)) return [converted, entry.attention_count];
  return [isRefused(entry) ? 0 : entry.attention_count, entry.attention_count];
}

/** Two digits of the scale: bfloat16 has no more. */
const digits = (scale: number): number => Number(scale.toPrecision(2));

const factsOf = ({ kind, heads, headDim, scale, causal }: SiteReport) => {
  return { kind, heads, headDim, scale: digits(scale), causal };
};

function expectedFacts({ kind, heads, head_dim: headDim, scale, causal }: ZooAttention) {
  return {
    kind,
    ...(heads !== undefined && { heads }),
    ...(headDim !== undefined && { headDim }),
    ...(scale !== undefined && { scale: digits(scale) }),
    ...(causal !== undefined && { causal }),
  };
}

function describeZoo(folder: ZooFolder, entries: readonly ZooEntry[]): void {
  const inFolder = folderOfEachTest();

  test.each(entries)("$name: $verdict", async (entry) => {
    const { sites } = await withModel(folder, entry, (model) => inspectAttention(model));
    const converted = sites.filter((site) => site.verdict === "convert");
    expect([converted.length, sites.length]).toEqual(expectedCounts(entry, converted.length, sites.length));
    for (const { verdict, reasons } of sites) {
      expect(verdict === "refuse").toBe(reasons.length > 0);
      expect(reasons.map(({ code }) => code).join(" ")).toMatch(/^[a-z -]*$/);
      expect(reasons.map(({ message }) => /^[A-Z].*\.$/.test(message))).not.toContain(false);
      for (const { message } of reasons) expect(message).toMatch(effectOrAdvice);
    }
    const bands = sites.flatMap(({ mask }) => mask.band ?? []);
    expect(bands.length > 0).toBe(windows.has(entry.name));
    for (const { before, after } of bands) expect([before, after]).toEqual(Array(2).fill(windows.get(entry.name)));
    const slopes = sites.flatMap(({ mask }) => (mask.alibi ? [mask.alibi.slopes] : []));
    expect(slopes).toEqual(alibi.has(entry.name) ? sites.map(() => alibi.get(entry.name)) : []);
    const told = isRefused(entry) || mixedLayers.has(entry.name) || eitherWay.test(entry.name) ? [] : entry.attention;
    expect(sites.slice(0, told.length).map(factsOf)).toMatchObject(told.map(expectedFacts));
  });

  const convertible = entries.filter((entry) => !isRefused(entry) && !eitherWay.test(entry.name));
  test.each(convertible.filter(({ name }) => !notRunnable.has(name)))(
    "$name: exact attention written again from what was proved gives the expected outputs",
    async (entry) => {
      const file = inFolder(`${entry.name}.onnx`);
      await withModel(folder, entry, async (model) => {
        const before = [signature(model.graph.input), signature(model.graph.output)];
        const { model: exact } = convertAttention(model, { features: "exact", rows: "proof", cross: true });
        expect([signature(exact.graph.input), signature(exact.graph.output)]).toEqual(before);
        await writeModel(exact, file, { externalData: "inline" });
      });
      const session = await openSession(file);
      for (const sample of entry.samples.slice(0, entry.core ? 2 : 1)) {
        const { feeds, expected, mask } = await readProcessorSample(folder, entry, sample);
        const outputs = await session.run(feeds);
        for (const [name, value] of expected) {
          expect(validDifference(outputs[name]!, value, mask)).toBeLessThanOrEqual(entry.tol);
        }
      }
    },
  );
}

describe("attention in the core of the zoo", () => {
  test("is of every family", () => expect(coreZoo.entries).toHaveLength(61));
  describeZoo(coreZoo, coreZoo.entries);
});

const others = sharedZoo.entries.filter(({ core }) => !core);
describe.skipIf(others.length === 0)("attention in the rest of the zoo (skipped if ../shared/zoo is absent)", () => {
  describeZoo(sharedZoo, others);
});
