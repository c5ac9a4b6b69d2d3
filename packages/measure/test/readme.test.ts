import * as checkpoints from "@favor/checkpoints";
import * as checkpointsNode from "@favor/checkpoints/node";
import { tiny, validation } from "@favor/test-support/antibody";
import { runReadmeExample } from "@favor/test-support/readme-example";
import { expect, test } from "vitest";

import * as measure from "../src/index.ts";
import * as measureNumbers from "../src/numbers/index.ts";
import * as measureTokens from "../src/tokens/index.ts";

test("the README's example prints what the README says", async () => {
  const { printed, promised } = await runReadmeExample(
    new URL("../README.md", import.meta.url),
    {
      "@favor/checkpoints": checkpoints,
      "@favor/checkpoints/node": checkpointsNode,
      "@favor/measure": measure,
      "@favor/measure/numbers": measureNumbers,
      "@favor/measure/tokens": measureTokens,
    },
    {
      "my-checkpoint": tiny,
      "my-checkpoint-linear/onnx/model.onnx": `${tiny}/onnx/model.onnx`,
      "validation.fasta": validation,
    },
  );
  expect(printed).toBe(promised);
});
