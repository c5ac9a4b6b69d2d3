import { runReadmeExample } from "@favor/test-support/readme-example";
import { expect, test } from "vitest";

import * as pages from "../src/pages/index.ts";

test("the README's example prints what the README says", async () => {
  const readme = new URL("../README.md", import.meta.url);
  const { printed, promised } = await runReadmeExample(readme, { "@favor/report/pages": pages });
  expect(printed).toBe(promised);
});
