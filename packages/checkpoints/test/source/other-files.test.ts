import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

import { FavorError } from "@favor/core";
import { folderOfEachTest } from "@favor/test-support/temporary-folder";
import { describe, expect, it } from "vitest";

import { openCheckpoint } from "../../src/source/open-checkpoint.ts";
import { openSourceModel } from "../../src/source/open-source-model.ts";
import { openSource } from "../../src/source/source.ts";
import type { SourceOptions } from "../../src/source/located-source.ts";
import { fixturePath } from "../builders/checkpoints.ts";

const inFolder = folderOfEachTest();
const fixture = (file: string): URL => new URL(file, fixturePath("bert-mlm"));

const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 12345\n";

function put(path: string, contents: string | Uint8Array = ""): void {
  mkdirSync(dirname(inFolder(path)), { recursive: true });
  writeFileSync(inFolder(path), contents);
}

function putCheckpoint(folder: string): void {
  mkdirSync(inFolder(folder), { recursive: true });
  for (const file of ["config.json", "model.safetensors"]) copyFileSync(fixture(file), inFolder(`${folder}/${file}`));
}

async function failure(path = ".", options: SourceOptions = {}): Promise<{ code: string; message: string }> {
  const error: unknown = await openSource(inFolder(path), options)
    .then(openSourceModel)
    .catch((reason: unknown) => reason);
  if (!FavorError.isInstance(error)) throw error;
  return { code: error.code, message: error.message };
}

describe("files that are something else", () => {
  it.each<[what: string, contents: string | Uint8Array, says: RegExp]>([
    ["a git-LFS pointer", pointer, /is a git-LFS pointer, not the file itself\. Run `git lfs pull`/],
    ["a web page", "<!DOCTYPE html><html></html>", /is a web page/],
    ["a ZIP archive", "PK\x03\x04\x00\x00\x08\x08 data.pkl", /is a ZIP archive, as PyTorch writes/],
    ["a GGUF file", "GGUF\x03\x00\x00\x00\x00\x00\x00\x00", /is a GGUF file/],
    ["an HDF5 file", Buffer.from("\x89HDF\r\n\x1a\n123456", "latin1"), /is an HDF5 file/],
  ])("model.safetensors that is %s", async (_, contents, says) => {
    copyFileSync(fixture("config.json"), inFolder("config.json"));
    put("model.safetensors", contents);
    expect(await failure()).toEqual({ code: "unsupported-format", message: expect.stringMatching(says) as string });
  });

  it.each<[what: string, contents: string | Uint8Array, says: RegExp]>([
    ["a git-LFS pointer", pointer, /git-LFS pointer/],
    ["a web page", "<html>", /web page/],
    ["safetensors", readFileSync(fixture("model.safetensors")), /is a safetensors file/],
  ])("pytorch_model.bin that is %s", async (_, contents, says) => {
    copyFileSync(fixture("config.json"), inFolder("config.json"));
    put("pytorch_model.bin", contents);
    expect(await failure()).toEqual({ code: "unsupported-format", message: expect.stringMatching(says) as string });
  });

  it.each<[what: string, contents: string, says: RegExp]>([
    [
      "infinity",
      '{"a": "NaN, // ok",\n "b": Infinity}',
      /config\.json has Infinity in line 2\. Python .* number or null/,
    ],
    ["minus infinity", '{\n"b": [1, -Infinity]}', /has -Infinity in line 2/],
    ["no number", '{"b": NaN}', /has NaN in line 1/],
    ["a comment", '{\n// the size\n"a": 1}', /has a comment in line 2/],
    ["a comma too many", '{\n"a": 1,\n}', /has a comma before a closing bracket in line 2/],
    ["a git-LFS pointer", pointer, /is a git-LFS pointer/],
    ["nothing", "", /is empty/],
    ["half a file", '{"a": "b', /is not JSON .*incomplete or was edited/],
  ])("config.json with %s", async (_, contents, says) => {
    put("model.safetensors", readFileSync(fixture("model.safetensors")));
    put("config.json", contents);
    expect(await failure()).toEqual({ code: "config-malformed", message: expect.stringMatching(says) as string });
    await expect(openCheckpoint(inFolder())).rejects.toThrow(says);
  });
});

it("weights without config.json, and an index without its shards", async () => {
  put("model.safetensors", readFileSync(fixture("model.safetensors")));
  expect(await failure()).toEqual({
    code: "bad-config",
    message: expect.stringContaining("has model.safetensors, but no config.json") as string,
  });
  copyFileSync(fixture("config.json"), inFolder("config.json"));
  put("model.safetensors.index.json", '{"weight_map": {"a": "model-00001-of-00002.safetensors"}}');
  expect(await failure(".", { file: "model.safetensors.index.json" })).toEqual({
    code: "missing-weights",
    message: expect.stringMatching(
      /index\.json names model-00001-of-00002\.safetensors, which cannot be read/,
    ) as string,
  });
});

it("config.json may begin with a byte order mark", async () => {
  putCheckpoint(".");
  put("config.json", `\uFEFF${readFileSync(fixture("config.json"), "utf8")}`);
  const opened = await openSource(inFolder()).then(openSourceModel);
  opened.close();
  expect(opened.model.graph.output[0]!.name).toBe("logits");
});

it("weights in a subfolder are read with the configuration in that subfolder", async () => {
  putCheckpoint("sub");
  put("config.json", '{"model_type": "gpt2"}');
  const opened = await openSource(inFolder(), { file: "sub/model.safetensors" }).then(openSourceModel);
  opened.close();
  expect(opened.model.graph.output[0]!.name).toBe("logits");
});

describe("folders that are something else", () => {
  it("a PEFT adapter", async () => {
    put("adapter_config.json", "{}");
    put("adapter_model.safetensors");
    expect((await failure()).message).toMatch(/is a PEFT adapter, not a model.*merge_and_unload/);
    await expect(openCheckpoint(inFolder())).rejects.toThrow(/PEFT adapter/);
  });

  it("an adapter next to weights is not applied, with a note", async () => {
    putCheckpoint(".");
    put("adapter_config.json", "{}");
    const opened = await openSource(inFolder()).then(openSourceModel);
    opened.close();
    expect(opened.notes).toEqual([expect.stringContaining("is not applied")]);
  });

  it("the Hub cache's folder of a repository, and the cache itself", async () => {
    const snapshot = `models--org--name/snapshots/${"0".repeat(40)}`;
    putCheckpoint(snapshot);
    put("models--org--name/refs/main", "0".repeat(40));
    const found = await failure("models--org--name");
    expect(found.code).toBe("source-without-model");
    expect(found.message).toContain("the Hub cache's folder of org/name. Give that id");
    expect(found.message).toContain(inFolder(snapshot));
    expect((await failure()).message).toMatch(/is the Hub's cache\. Give the id of a model/);
  });

  it("a model of older sentence-transformers", async () => {
    putCheckpoint("0_Transformer");
    put("modules.json", "[]");
    const { message } = await failure();
    expect(message).toMatch(/older sentence-transformers.*0_Transformer/);
  });

  it("a Trainer's output", async () => {
    for (const step of [500, 1000, 1500, 2000, 2500]) putCheckpoint(`checkpoint-${step}`);
    expect((await failure()).message).toMatch(/holds checkpoints in folders\. Give .*checkpoint-1000.*another of 5\.$/);
  });

  it("nothing of the kind", async () => {
    put("deep/er/notes.txt");
    expect((await failure()).message).toMatch(/no model at all\. Favor reads/);
  });
});

describe("a task", () => {
  it("chooses the head of a graph that is built from weights", async () => {
    putCheckpoint(".");
    const source = await openSource(inFolder(), { task: "feature-extraction" });
    const opened = await openSourceModel(source);
    opened.close();
    expect(opened.model.graph.output[0]!.name).toBe("last_hidden_state");
  });

  it("has no meaning for a graph", async () => {
    put("model.onnx");
    expect(await failure(".", { task: "fill-mask" })).toEqual({
      code: "bad-arguments",
      message: expect.stringMatching(/--task chooses the head.*model\.onnx already is a graph/) as string,
    });
  });
});
