import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { expect, test } from "vitest";

import type { FavorFile } from "@favor/report";
import { calibration, tiny } from "@favor/test-support/antibody";
import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { favorConvert } from "./favor-convert.ts";

test("a warning is said once on stderr, --quiet or not, and stands in the JSON, the report and the model card", async () => {
  const output = join(await temporaryFolder(), "out");
  const data = ["--calibrate", calibration, "--calibrate-count", "6", "--features", "positive", "--seeds", "1"];
  const answer = await favorConvert(tiny, "-o", output, "--count", "8", ...data, "--json", "--quiet");
  expect(answer.status).toBe(0);
  expect(answer.stderr).toMatch(/^Warning: Calibration sees only 6 sequences with .*\n$/);
  const { warnings, favor } = JSON.parse(answer.stdout) as { warnings: FavorFile["warnings"]; favor: FavorFile };
  expect(warnings).toEqual([{ code: "calibration-small", message: answer.stderr.slice("Warning: ".length, -1) }]);
  expect(favor.warnings).toEqual(warnings);
  expect(JSON.parse(await readFile(join(output, "favor.json"), "utf8"))).toMatchObject({ warnings });
  for (const name of ["report.html", "README.md"]) {
    const text = await readFile(join(output, name), "utf8");
    expect(text.match(/Calibration sees only 6 sequences/g)).toHaveLength(1);
  }
  const loud = await favorConvert(tiny, "-o", output, "--force", "--count", "8", ...data);
  expect(loud.stderr.match(/^Warning: /gm)).toHaveLength(1);
  expect(loud.stdout).not.toContain("Calibration sees only");
});
