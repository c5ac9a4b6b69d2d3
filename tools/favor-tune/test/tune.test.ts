import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { favorFileSchema } from "favor-convert/report";
import { expect, test } from "vitest";

import { calibration, tiny, validation } from "./checkpoints.ts";
import { calibrated, convertedOnce } from "./converted.ts";
import { favorTune } from "./terminal.ts";

const converted = convertedOnce(calibrated);

test("both stages and the control, from the command line", async () => {
  const folder = await converted();
  const argv = [folder, "--data", calibration, "--eval-data", validation, "--eval-count", "60", "--teacher", tiny];
  const answer = await favorTune(...argv, "--steps", "4", "--batch", "8", "--control", "--backend", "wasm", "--json");
  expect(answer.status).toBe(0);
  const { tuning } = favorFileSchema.parse(JSON.parse(await readFile(join(`${folder}-tuned`, "favor.json"), "utf8")));
  expect(tuning?.curve.map(({ step }) => step)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  expect(tuning?.controlCurve?.map(({ step }) => step)).toEqual([4, 5, 6, 7, 8]);
  const { before, after, original } = tuning!.measured;
  expect(after.perplexity.value).toBeLessThan(before.perplexity.value);
  expect(original!.accuracy.value).toBeGreaterThan(after.accuracy.value);
});
