import { tiny } from "@favor/test-support/antibody";
import { runReadmeExample } from "@favor/test-support/readme-example";
import { expect, test } from "vitest";

import * as checkpoints from "../src/index.ts";
import * as checkpointsNode from "../src/node.ts";

test("the README's example prints what the README says", async () => {
  const modules = { "@favor/checkpoints": checkpoints, "@favor/checkpoints/node": checkpointsNode };
  const readme = new URL("../README.md", import.meta.url);
  const { printed, promised } = await runReadmeExample(readme, modules, { "my-checkpoint": tiny });
  expect(printed).toBe(promised);
});
