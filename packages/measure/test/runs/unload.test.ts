import { expect, test } from "vitest";

import { temporaryFile } from "@favor/test-support/temporary-folder";

import { ModelRunner } from "../../src/runs/runner.ts";
import { smallAttention, vocabulary } from "../inputs/small-attention.ts";

test("a model that was unloaded is loaded again by its next run, with the same results", async () => {
  const path = await temporaryFile("model.onnx", smallAttention({}));
  const runner = await ModelRunner.open(path, { threads: 1, vocabulary });
  const [output] = runner.outputs;
  const rows = [[1, 2, 3, 2, 1]];
  const before = await runner.run(rows, output!);
  const { signature } = runner;
  await runner.unload();
  await runner.unload();
  expect(runner.signature).toBe(signature);
  expect(await runner.run(rows, output!)).toEqual(before);
  await runner.close();
});
