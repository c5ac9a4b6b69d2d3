import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { tiny } from "@favor/test-support/antibody";
import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { expect, test } from "vitest";

import { convert } from "../src/commands/convert.ts";
import { verify } from "../src/commands/verify.ts";

test("a conversion whose masks are others by now is not verified", async () => {
  const output = join(await temporaryFolder(), "linear");
  await convert({ source: tiny, output, count: 8 });
  const path = join(output, "favor.json");
  const favor = await readFile(path, "utf8");
  // As an older version would have it that saw no padding mask.
  await writeFile(path, favor.replace('"kind": "padding"', '"kind": "none"'));
  const { passed, checks } = await verify({ original: tiny, converted: output });
  expect(passed).toBe(false);
  expect(checks.filter((check) => !check.passed)).toEqual([
    { name: "attention may be replaced", passed: false, found: 'layer 0 has the mask "padding", not "none"' },
  ]);
});
