import { copyFile, stat } from "node:fs/promises";
import { join } from "node:path";

import { tiny } from "@favor/test-support/antibody";
import { runReadmeExample } from "@favor/test-support/readme-example";
import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { expect, test } from "vitest";

import * as onnxEvaluate from "../src/evaluate/index.ts";
import * as onnxGraph from "../src/graph/index.ts";
import * as onnx from "../src/index.ts";
import * as onnxNode from "../src/node/index.ts";

test("the README's example prints what the README says", async () => {
  const folder = await temporaryFolder();
  const paths = { "model.onnx": join(folder, "model.onnx"), "copy.onnx": join(folder, "copy.onnx") };
  await copyFile(join(tiny, "onnx/model.onnx"), paths["model.onnx"]);
  const { printed, promised } = await runReadmeExample(
    new URL("../README.md", import.meta.url),
    {
      "@favor/onnx": onnx,
      "@favor/onnx/evaluate": onnxEvaluate,
      "@favor/onnx/graph": onnxGraph,
      "@favor/onnx/node": onnxNode,
    },
    paths,
  );
  expect(printed).toBe(promised);
  expect((await stat(paths["copy.onnx"])).size).toBeGreaterThan((await stat(paths["model.onnx"])).size);
});
