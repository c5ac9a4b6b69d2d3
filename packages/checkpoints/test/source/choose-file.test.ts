import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";

import { folderOfEachTest } from "@favor/test-support/temporary-folder";
import { describe, expect, it, test } from "vitest";

import { chooseFile, requireFile } from "../../src/source/choose-file.ts";
import type { FileRequest } from "../../src/source/choose-file.ts";
import { listFolder } from "../../src/source/list-folder.ts";

const quantised = "onnx/model_quantized.onnx";
const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"];

const choices: readonly [title: string, paths: readonly string[], request: FileRequest, file: string][] = [
  ["an export in onnx/ before one in the top folder", ["model.onnx", "onnx/model.onnx"], {}, "onnx/model.onnx"],
  ["a float32 export before weights", ["model.safetensors", "model.onnx"], {}, "model.onnx"],
  ["weights before a quantised export", [quantised, "model.safetensors"], {}, "model.safetensors"],
  ["weights before several quantised exports", ["a.onnx", quantised, "pytorch_model.bin"], {}, "pytorch_model.bin"],
  ["safetensors before PyTorch", ["pytorch_model.bin", "model.safetensors"], {}, "model.safetensors"],
  ["sharded safetensors before PyTorch", ["pytorch_model.bin", ...shards], {}, "model.safetensors.index.json"],
  ["one file before its shards", [...shards, "model.safetensors"], {}, "model.safetensors"],
  ["the only ONNX model, whatever its name", ["encoder.onnx", "config.json"], {}, "encoder.onnx"],
  ["the only ONNX model, in onnx/", [quantised, "tf_model.h5"], {}, quantised],
  ["an ONNX model in another folder is not considered", [quantised, "openvino/x.onnx"], {}, quantised],
  ["a precision by transformers.js's suffix", ["onnx/model.onnx", quantised], { dtype: "q8" }, quantised],
  ["a precision, in the top folder too", ["model.onnx", "model_fp16.onnx"], { dtype: "fp16" }, "model_fp16.onnx"],
  ["float32 on request", ["model.onnx", "model.safetensors"], { dtype: "fp32" }, "model.onnx"],
  [
    "a file before everything",
    ["onnx/model.onnx", "pytorch_model.bin"],
    { file: "pytorch_model.bin" },
    "pytorch_model.bin",
  ],
  ["a file in any folder", ["onnx/model.onnx", "a/b.onnx"], { file: "a/b.onnx" }, "a/b.onnx"],
  ["a file written with ./", ["onnx/model.onnx", "model.onnx"], { file: "./model.onnx" }, "model.onnx"],
];

test.each(choices)("%s", (_title, paths, request, file) => {
  expect(chooseFile(paths, request)).toMatchObject({ file });
  expect(chooseFile(paths.toReversed(), request)).toMatchObject({ file });
});

const refusals: readonly [title: string, paths: readonly string[], request: FileRequest, found: readonly string[]][] = [
  ["an empty checkpoint", [], {}, []],
  [
    "a checkpoint in formats that cannot be read",
    ["config.json", "tf_model.h5", "x.gguf"],
    {},
    ["tf_model.h5", "x.gguf"],
  ],
  [
    "weights under another name",
    ["model.bin", "pytorch_model.safetensors"],
    {},
    ["model.bin", "pytorch_model.safetensors"],
  ],
  ["shards without their index", shards.slice(0, 2), {}, shards.slice(0, 2)],
  [
    "a precision that is not there: weights do not replace it",
    ["model.safetensors", quantised],
    { dtype: "fp32" },
    [quantised],
  ],
  ["a file that is not there", ["model.safetensors"], { file: "model.onnx" }, ["model.safetensors"]],
];

test.each(refusals)("%s is refused, listing what there is", (_title, paths, request, found) => {
  expect(chooseFile(paths, request)).toMatchObject({ problem: "missing", found });
  expect(() => requireFile("org/name", paths, request)).toThrow(
    expect.objectContaining({
      code: "source-without-model",
      message: expect.stringMatching(found.length === 0 ? /^org\/name has .*no model at all/ : found[0]!) as string,
    }) as Error,
  );
});

test("several ONNX models without weights are ambiguous", () => {
  const paths = ["onnx/model_quantized.onnx", "onnx/model_q4.onnx"];
  expect(chooseFile(paths)).toMatchObject({ problem: "several", found: paths.toSorted() });
  expect(() => requireFile("org/name", paths, {})).toThrow(
    expect.objectContaining({
      code: "source-ambiguous",
      message: expect.stringContaining("holds 2 ONNX models (onnx/model_q4.onnx, onnx/model_quantized.onnx)") as string,
    }) as Error,
  );
});

test("a long list of models is cut short in the message, not in the details", () => {
  const paths = Array.from({ length: 20 }, (_, i) => `part-${String(i).padStart(2, "0")}.bin`);
  expect(() => requireFile("org/name", paths, {})).toThrow(
    expect.objectContaining({
      message: expect.stringContaining("part-07.bin and 12 more") as string,
      details: expect.objectContaining({ found: paths }) as object,
    }) as Error,
  );
});

describe("the listing of a folder", () => {
  const inFolder = folderOfEachTest();

  it("has the top folder, onnx/ and the requested file's folder, with links and without folders", () => {
    for (const folder of ["onnx", "deep/er", "other", "model.onnx"]) mkdirSync(inFolder(folder), { recursive: true });
    for (const file of ["a.onnx", "onnx/b.onnx", "deep/er/c.onnx", "other/d.onnx"]) writeFileSync(inFolder(file), "");
    symlinkSync("a.onnx", inFolder("link.onnx"));
    symlinkSync("nowhere", inFolder("broken.onnx"));
    expect(listFolder(inFolder()).toSorted()).toEqual(["a.onnx", "broken.onnx", "link.onnx", "onnx/b.onnx"]);
    expect(listFolder(inFolder(), "deep/er/c.onnx")).toContain("deep/er/c.onnx");
    expect(listFolder(inFolder(), "./a.onnx").filter((name) => name === "a.onnx")).toHaveLength(1);
  });

  it("is refused for a folder that does not exist", () => {
    expect(() => listFolder(inFolder("none"))).toThrow(/none/);
  });
});
