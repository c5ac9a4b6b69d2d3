import { describe, expect, test } from "vitest";
import { Graph } from "@favor/onnx/graph";
import { createMessage } from "@favor/onnx";
import { openModel } from "@favor/onnx/node";
import { writeModel } from "@favor/onnx/node";
import { growPositions } from "../../src/positions/grow.ts";
import { folderOfEachTest } from "@favor/test-support/temporary-folder";
import { hasSharedZoo, sharedZoo } from "@favor/test-support/zoo/folder";
import type { ZooEntry } from "@favor/test-support/zoo/manifest";
import { floatOutputs, largestDifference, longFeeds, openSession, sampleFeeds } from "@favor/test-support/onnxruntime";

const inFolder = folderOfEachTest();
const maxLength = 100;
const token = (position: number): number => 4 + ((position * 7) % 27);

/** What cannot grow, and why. Fixed shapes are told by the manifest. */
const refused: readonly [RegExp, RegExp][] = [
  [/^vit-optimum$/, /position rows are folded into the constant ".*position_embeddings" \[1, 17, 32\] that Add/],
  [/vit(_|-|$)|xcit|swin/, /inputs of fixed shape, "[^"]+" \[\?, 3, 16, 16\]/],
  [/-baked$/, /Reshape ".*" cannot reshape \[5, 1, 32\] to \[12, 2, 16\].* a length is written into the graph/],
  [/^(neg_qkbias|mixed)/, /"att\.\d\.rel" \[2, 64, 64\], read by Slice ".*not a causal mask; a learned bias/],
];

/** No table bounds these: rotary, convolutional, ALiBi and bucketed relative positions. */
const unbounded = /rotary|modernbert|nomic|llama|gemma|neox|bloom|^t5|deberta|wav2vec|hubert|xlnet/;

/** Decoders with a cache have past keys and position ids as inputs of their own, and are not converted. */
const withCache = new Set(["gpt2-optimum-past", "bart-optimum-decoder_merged"]);
/** onnxruntime has no kernels for it. */
const notRunnable = new Set(["bert-ts113-eager-op16-bf16"]);

const reasonOf = (entry: ZooEntry): RegExp | undefined =>
  entry.axes === "fixed" ? /inputs of fixed shape, "[^"]+" \[2, 12\]/ : refused.find(([n]) => n.test(entry.name))?.[1];

async function grow(entry: ZooEntry, file: string, growth: "tile" | "interpolate" = "tile"): Promise<string[]> {
  const { model, close } = await openModel(sharedZoo.path(entry.model));
  try {
    const notes = growPositions(Graph.of(model), maxLength, growth);
    await writeModel(model, inFolder(file), { externalData: "inline" });
    return notes;
  } finally {
    close();
  }
}

const entries = sharedZoo.entries.filter(({ name }) => !withCache.has(name) && !notRunnable.has(name));
const growing = entries.filter((entry) => reasonOf(entry) === undefined);
const bounded = growing.filter(({ name }) => !unbounded.test(name));

describe.skipIf(!hasSharedZoo)(
  "growing the models of the zoo to 100 tokens (skipped if ../shared/zoo is absent)",
  () => {
    test("holds all forms", () => expect([bounded.length, entries.length]).toEqual([134, 180]));

    test.each(bounded)("$name: same outputs as before, and longer inputs work", async (entry) => {
      const file = `${entry.name}.onnx`;
      const notes = await grow(entry, file);
      expect(notes.join()).toMatch(/grew from (32|64|66) to 10[02] rows for inputs of 100 tokens.*its rows repeat/);
      const [before, after] = await Promise.all([
        openSession(sharedZoo.path(entry.model)),
        openSession(inFolder(file)),
      ]);
      for (const feeds of sampleFeeds(entry).slice(0, entry.core ? 3 : 1)) {
        const difference = largestDifference(await floatOutputs(before, feeds), await floatOutputs(after, feeds));
        expect(difference).toBeLessThanOrEqual(1e-5);
      }
      const long = longFeeds(entry, maxLength, token);
      await expect(before.run(long)).rejects.toThrow(/Non-zero status code/);
      const outputs = await floatOutputs(after, long);
      expect(outputs.size).toBeGreaterThan(0);
      for (const values of outputs.values()) expect(values.every(Number.isFinite)).toBe(true);
    });

    test.each(growing.filter(({ name }) => unbounded.test(name)))("$name: no table to grow", async (entry) => {
      expect(await grow(entry, `${entry.name}.onnx`)).toEqual([expect.stringMatching(/^No table limits the length/)]);
      const session = await openSession(inFolder(`${entry.name}.onnx`));
      if (entry.inputs[0]!.elem_type === 1) return;
      for (const values of (await floatOutputs(session, longFeeds(entry, maxLength, token))).values()) {
        expect(values.every(Number.isFinite)).toBe(true);
      }
    });

    test.each(entries.filter((entry) => reasonOf(entry) !== undefined))("$name: refused by name", async (entry) => {
      const error: unknown = await grow(entry, "refused.onnx").catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: "positions-cannot-grow", message: expect.stringMatching(reasonOf(entry)!) });
    });

    test("bart-optimum-decoder_merged: what lies in the branches of an If is named", async () => {
      const entry = sharedZoo.entries.find(({ name }) => name === "bart-optimum-decoder_merged")!;
      expect((await grow(entry, "merged.onnx")).join()).toMatch(/Not checked for 100 tokens: If "optimum::if"/);
    });

    test.each([
      ["bert-ts-eager-op17-dyn", 64],
      ["roberta-ts-eager-op14-dyn", 64],
      ["esm_absolute-ts-sdpa-op17-dyn", 62],
      ["gpt2-ts113-eager-op14-dyn", 64],
      ["khub_bert_mlm-kerastf", 64],
      ["TFbert-tf2onnx-op15-dyn", 64],
      ["bert-ortfuse-attention", 64],
      ["clip_text-ts-eager-op14-dyn", 32],
    ])("%s: position p looks like position p + %i", async (name, period) => {
      const entry = sharedZoo.entries.find((candidate) => candidate.name === name)!;
      const { model, close } = await openModel(sharedZoo.path(entry.model));
      growPositions(Graph.of(model), maxLength, "tile");
      const isGrown = (value: string): boolean =>
        model.graph.initializer.some((tensor) => tensor.name === value && tensor.dataType === 1) &&
        value.startsWith("favor/");
      const [rows] = model.graph.node.find(({ input }) => input.some(isGrown))!.output;
      model.graph.output.push(createMessage("ValueInfoProto", { name: rows! }));
      await writeModel(model, inFolder("rows.onnx"), { externalData: "inline" });
      close();
      const session = await openSession(inFolder("rows.onnx"));
      const outputs = await session.run(longFeeds(entry, maxLength, () => 5));
      const { data, dims } = outputs[rows!]!;
      const width = dims.at(-1)!;
      const row = (position: number): number[] =>
        Array.from((data as Float32Array).subarray(position * width, (position + 1) * width));
      expect(dims.at(-2)).toBe(maxLength);
      for (let p = 0; p + period < maxLength; p++) expect(row(p + period)).toEqual(row(p));
      expect(row(1)).not.toEqual(row(0));
    });
  },
);
