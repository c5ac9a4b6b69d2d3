import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { InferenceSession } from "onnxruntime-node";
import { describe, expect, it } from "vitest";
import { convertAttention } from "@favor/rewriter";
import { DataType, memoryRange, readRange } from "@favor/onnx";
import { readPyTorch } from "../../src/formats/pytorch.ts";
import type { CheckpointTensor } from "../../src/formats/state-dict.ts";
import type { ModelProto } from "@favor/onnx";
import { InputFile } from "@favor/onnx/node";
import { openCheckpoint } from "../../src/source/open-checkpoint.ts";
import { openModel, writeModel } from "@favor/onnx/node";
import { folderOfEachTest } from "@favor/test-support/temporary-folder";
import { readNpz } from "@favor/test-support/zoo/npz";
import { largestDifference, openInRuntime, readTensors, runSample, sampleOf, type Sample } from "./checkpoints.ts";
import { shared } from "@favor/test-support/shared-folder";

const real = new URL("../../../../tools/conformance/python/checkpoints/real/", import.meta.url);
const models = new URL("models/", shared);
const has = (name: string): boolean => existsSync(new URL(`${name}/sample.safetensors`, real));
const inFolder = folderOfEachTest();

async function differenceOf(name: string, samples: readonly Sample[]): Promise<{ choice: string; largest: number }> {
  const checkpoint = await openCheckpoint(fileURLToPath(new URL(name, real)));
  await writeModel(checkpoint.model, inFolder("model.onnx"));
  checkpoint.close();
  const session = await InferenceSession.create(inFolder("model.onnx"), { intraOpNumThreads: 1 });
  let largest = 0;
  for (const sample of samples)
    largest = Math.max(largest, largestDifference(await runSample(session, sample), sample));
  return { choice: checkpoint.choice, largest };
}

const keptSample = (name: string): Sample => sampleOf(readTensors(new URL(`${name}/sample.safetensors`, real)));

describe.skipIf(!has("antiberty"))("AntiBERTy (skipped without fetch_real.py of tools/conformance)", () => {
  it("pytorch_model.bin holds what torch.load finds in it", () => {
    const file = new InputFile(fileURLToPath(new URL("antiberty/pytorch_model.bin", real)));
    const found = readPyTorch(file);
    const expected = readTensors(new URL("antiberty/loaded.safetensors", real));
    expect([...found.keys()].toSorted()).toEqual([...expected.keys()].toSorted());
    for (const [name, { dims, dataType, range }] of expected) {
      const tensor = found.get(name)!;
      expect([name, tensor.dims, tensor.dataType]).toEqual([name, dims, dataType]);
      expect(Buffer.compare(readRange(tensor.range), readRange(range))).toBe(0);
    }
    file.close();
  });

  it("the graph computes what transformers computes", async () => {
    const { choice, largest } = await differenceOf("antiberty", [keptSample("antiberty")]);
    expect(choice).toContain("pytorch_model.bin");
    expect(choice).toContain("fill-mask");

    expect(largest).toBeLessThan(1e-4);
  });

  it.skipIf(!existsSync(models))("and what its ONNX export was tested with (skipped without ../shared)", async () => {
    const samples = [0, 1, 2].map((index) => {
      const arrays = readNpz(new Uint8Array(readFileSync(new URL(`antiberty/antiberty.s${index}.npz`, models))));
      return sampleOf(
        new Map(
          Array.from(arrays, ([key, { dataType, dims, bytes }]) => [
            key,
            { dataType, dims, range: memoryRange(bytes) },
          ]),
        ),
      );
    });
    const { largest } = await differenceOf("antiberty", samples);

    expect(largest).toBeLessThan(1e-4);
  });
});

describe.skipIf(!has("minilm"))("MiniLM (skipped without fetch_real.py of tools/conformance)", () => {
  it("the graph computes what transformers computes", async () => {
    const { choice, largest } = await differenceOf("minilm", [keptSample("minilm")]);
    expect(choice).toContain("model.safetensors");
    expect(choice).toContain("feature-extraction");

    expect(largest).toBeLessThan(1e-4);
  });
});

function int64(values: readonly number[]): CheckpointTensor {
  return {
    dataType: DataType.INT64,
    dims: [2, 40],
    range: memoryRange(new Uint8Array(BigInt64Array.from(values, BigInt).buffer)),
  };
}

describe.skipIf(!existsSync(models))("tiny-antibody (skipped without ../shared)", () => {
  const folder = fileURLToPath(new URL("tiny-antibody", models));
  const ids = Array.from({ length: 80 }, (_, index) => 5 + ((index * index + 3 * index) % 20));
  const mask = ids.map((_, index) => (index < 70 ? 1 : 0));
  const inputs = new Map([
    ["input_ids", int64(ids)],
    ["attention_mask", int64(mask)],
    ["token_type_ids", int64(ids.map(() => 0))],
  ]);

  const logitsOf = async (model: ModelProto): Promise<Sample> => {
    const asked = { inputs, mask, output: { name: "logits", dims: [], values: [] } };
    const { logits } = await runSample(await openInRuntime(model), asked);
    return {
      ...asked,
      output: { name: "logits", dims: logits!.dims, values: Array.from(logits!.data as Float32Array) },
    };
  };

  it.each([undefined, "exact", "positive"] as const)(
    "a graph from weights and the ONNX export give the same numbers, converted to %s",
    async (features) => {
      const exported = await openModel(`${folder}/onnx/model.onnx`);
      const built = await openCheckpoint(folder, { file: "model.safetensors" });
      const converted = ({ model }: { model: ModelProto }): ModelProto =>
        features === undefined ? model : convertAttention(model, { features, count: 64 }).model;
      const expected = await logitsOf(converted(exported));
      const outputs = await runSample(await openInRuntime(converted(built)), expected);
      expect(largestDifference(outputs, expected)).toBeLessThan(1e-4);
      expect(Math.max(...expected.output.values)).toBeGreaterThan(1);
      for (const opened of [exported, built]) opened.close();
    },
  );
});
