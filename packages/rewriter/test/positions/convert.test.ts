import { describe, expect, test } from "vitest";
import { convertAttention } from "../../src/model-attention.ts";
import { openModel } from "@favor/onnx/node";
import { writeModel } from "@favor/onnx/node";
import { folderOfEachTest } from "@favor/test-support/temporary-folder";
import { hasSharedZoo, sharedZoo } from "@favor/test-support/zoo/folder";
import { floatOutputs, longFeeds, openSession } from "@favor/test-support/onnxruntime";

const inFolder = folderOfEachTest();
const maxLength = 100;
const token = (position: number): number => 4 + ((position * 7) % 27);

describe.skipIf(!hasSharedZoo)("growing while converting (skipped if ../shared/zoo is absent)", () => {
  test("a table grows after its attention was converted", async () => {
    const opened = await openModel(sharedZoo.path("roberta-ts-eager-op14-dyn.onnx"));
    const { model, sites, notes } = convertAttention(opened.model, { count: 32, maxLength });
    expect(sites.map(({ state }) => state)).toEqual(["linear", "linear"]);
    expect(notes).toEqual([
      expect.stringMatching(/^"onnx::Expand_60" grew from 66 to 102 rows .* row 2\): its value is the same/),
      expect.stringMatching(/position_embeddings.weight" grew from 66 to 102 rows .* row 2\): its rows repeat/),
    ]);
    await writeModel(model, inFolder("converted.onnx"));
    opened.close();
    const entry = sharedZoo.entries.find(({ name }) => name === "roberta-ts-eager-op14-dyn")!;
    const session = await openSession(inFolder("converted.onnx"));
    for (const values of (await floatOutputs(session, longFeeds(entry, maxLength, token))).values()) {
      expect(values.every(Number.isFinite)).toBe(true);
    }
  });
});
