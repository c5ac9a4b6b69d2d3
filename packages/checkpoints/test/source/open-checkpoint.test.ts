import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { beforeEach, describe, expect, it } from "vitest";
import { CheckpointError } from "../../src/formats/errors.ts";
import { openCheckpoint, type OpenCheckpointOptions } from "../../src/source/open-checkpoint.ts";
import { writeModel } from "@favor/onnx/node";
import { fixturePath } from "../builders/checkpoints.ts";
import { folderOfEachTest } from "@favor/test-support/temporary-folder";

const inFolder = folderOfEachTest();
const weights = new URL("model.safetensors", fixturePath("bert-mlm"));

beforeEach(() => copyFileSync(new URL("config.json", fixturePath("bert-mlm")), inFolder("config.json")));

const putWeights = (): void => copyFileSync(weights, inFolder("model.safetensors"));

async function putExport(...names: string[]): Promise<void> {
  const { model, close } = await openCheckpoint(new URL(".", weights).pathname);
  mkdirSync(inFolder("onnx"), { recursive: true });
  for (const name of names)
    await writeModel(model, inFolder(name), { externalData: name.includes("fp16") ? {} : "keep" });
  close();
}

async function chosen(options: OpenCheckpointOptions = {}): Promise<string> {
  const { source, choice, close } = await openCheckpoint(inFolder(), options);
  expect(choice).toContain(source);
  close();
  return source;
}

async function failure(options: OpenCheckpointOptions = {}): Promise<CheckpointError> {
  const error: unknown = await openCheckpoint(inFolder(), options).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(CheckpointError);
  return error as CheckpointError;
}

describe("which file", () => {
  it("an ONNX export goes before weights, one in onnx/ before one beside", async () => {
    putWeights();
    expect(await chosen()).toBe("model.safetensors");
    await putExport("model.onnx");
    expect(await chosen()).toBe("model.onnx");
    await putExport("onnx/model.onnx");
    expect(await chosen()).toBe("onnx/model.onnx");
  });

  it("a quantised export does not go before weights; alone it is taken", async () => {
    await putExport("onnx/model_quantized.onnx");
    expect(await chosen()).toBe("onnx/model_quantized.onnx");
    putWeights();
    expect(await chosen()).toBe("model.safetensors");
  });

  it("several quantised exports are not chosen from", async () => {
    await putExport("onnx/model_quantized.onnx", "onnx/model_q4.onnx");
    const error = await failure();
    expect(error.code).toBe("checkpoint-not-found");
    expect(error.details["found"]).toEqual(["onnx/model_q4.onnx", "onnx/model_quantized.onnx"]);
  });

  it("a dtype chooses the export by transformers.js's suffix, external data with it", async () => {
    await putExport("onnx/model.onnx", "onnx/model_fp16.onnx", "onnx/model_quantized.onnx");
    expect(await chosen({ dtype: "fp16" })).toBe("onnx/model_fp16.onnx");
    expect(await chosen({ dtype: "q8" })).toBe("onnx/model_quantized.onnx");
    expect(await chosen({ dtype: "fp32" })).toBe("onnx/model.onnx");
    expect((await failure({ dtype: "q4" })).message).toContain("model_q4.onnx");
  });

  it("a file goes before everything", async () => {
    putWeights();
    await putExport("onnx/model.onnx");
    expect(await chosen({ file: "model.safetensors" })).toBe("model.safetensors");
    writeFileSync(inFolder("model.txt"), "x");
    expect((await failure({ file: "model.txt" })).code).toBe("unsupported-format");
  });

  it("shards are read by their index", async () => {
    copyFileSync(weights, inFolder("model-00001-of-00001.safetensors"));
    const header = readFileSync(weights);
    const length = Number(header.readBigUInt64LE(0));
    const names = Object.keys(JSON.parse(header.toString("utf8", 8, 8 + length)) as object);
    const places = names
      .filter((name) => name !== "__metadata__")
      .map((name) => [name, "model-00001-of-00001.safetensors"]);
    const index = { metadata: {}, weight_map: Object.fromEntries(places) as object };
    writeFileSync(inFolder("model.safetensors.index.json"), JSON.stringify(index));
    expect(await chosen()).toBe("model.safetensors.index.json");
  });

  it("a folder of other formats says what is there", async () => {
    writeFileSync(inFolder("tf_model.h5"), "x");
    const error = await failure();
    expect(error.code).toBe("checkpoint-not-found");
    expect(error.message).toContain("tf_model.h5");
  });
});

it("the task is the checkpoint's own, or the one that is asked for", async () => {
  putWeights();
  const own = await openCheckpoint(inFolder());
  expect([own.task, own.model.graph.output[0]!.name]).toEqual(["fill-mask", "logits"]);
  expect(own.choice).toContain("fill-mask");
  own.close();
  const asked = await openCheckpoint(inFolder(), { task: "feature-extraction" });
  expect(asked.model.graph.output[0]!.name).toBe("last_hidden_state");
  asked.close();
});

it("files are closed when the graph cannot be built", async () => {
  putWeights();
  writeFileSync(inFolder("config.json"), '{"model_type":"gpt2"}');
  expect((await failure()).code).toBe("unsupported-model");
  // Nothing may be written over a file that is open as input: `writeModel` would refuse.
  await putExport("model.safetensors");
});
