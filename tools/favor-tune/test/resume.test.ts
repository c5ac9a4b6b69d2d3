import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { silent } from "@favor/checkpoints";
import type { Progress } from "@favor/checkpoints";
import { describe, expect, test } from "vitest";

import { tune } from "../src/index.ts";
import type { TuneRequest } from "../src/index.ts";
import { calibration, tiny } from "@favor/test-support/antibody";
import { convertedOnce, shallowOnce } from "./converted.ts";

const converted = convertedOnce({ count: 16 });
/** Where the number of layers is of no matter. */
const shallow = shallowOnce({ count: 16 });

/** Small enough for a second a run; two epochs of the data would be seen in 100 steps. */
const small = { data: calibration, maxLength: 24, batch: 4, evalCount: 10, evalEvery: 1, backend: "wasm" } as const;

const modelBytes = async (folder: string): Promise<Buffer> => readFile(join(folder, "onnx", "model.onnx"));

/** Presses Ctrl-C when a line of progress contains a text. */
function stopAt(text: string): Progress {
  return { ...silent, note: (line) => void (line.includes(text) && process.emit("SIGINT", "SIGINT")) };
}

async function run(
  request: Partial<TuneRequest>,
  stops: readonly string[],
  copy: () => Promise<string> = shallow.converted,
): Promise<Buffer> {
  const source = await copy();
  const whole: TuneRequest = { ...small, source, ...request };
  for (const [i, stop] of stops.entries()) {
    const stopped = tune({ ...whole, resume: i > 0 }, stopAt(stop));
    await expect(stopped).rejects.toThrow(/Stopped by SIGINT.*--resume/);
  }
  const { folder } = await tune({ ...whole, resume: stops.length > 0 });
  const log = (await readFile(join(folder, "log.jsonl"), "utf8")).trim().split("\n");
  const steps = log.map((line) => JSON.parse(line) as { stage: string; step: number });
  expect(new Set(steps.map(({ stage, step }) => `${stage} ${step}`)).size).toBe(steps.length);
  return modelBytes(folder);
}

describe("an interrupted run that is resumed ends in the same bytes", () => {
  test("MLM with dropout and KL: 6 steps, or 3 and 3", async () => {
    const request = { stage: "mlm", steps: 6, preset: "paper", kl: 0.5, teacher: shallow.original() } as const;
    const whole = await run(request, []);
    expect((await run(request, ["mlm 3:"])).equals(whole)).toBe(true);
  });

  test("distillation, MLM and the control, stopped in each", async () => {
    const request = { stage: "both", steps: 2, teacher: tiny, control: true, accumulate: 2 } as const;
    const whole = await run(request, [], converted);
    const stopped = await run(request, ["distill 1:", "mlm 1:", "control 1:"], converted);
    expect(stopped.equals(whole)).toBe(true);
  });

  test("with patience, where the best weights are kept", async () => {
    const request = { stage: "mlm", steps: 6, patience: 2, learningRate: 0.001 } as const;
    const whole = await run(request, []);
    expect(whole.equals(await modelBytes(await shallow.converted()))).toBe(false);
    expect((await run(request, ["mlm 1:", "mlm 2:"])).equals(whole)).toBe(true);
  });
});

test("a checkpoint of another run is not gone on from, and not written over", async () => {
  const source = await shallow.converted();
  const request: TuneRequest = { ...small, source, stage: "mlm", steps: 3 };
  await expect(tune(request, stopAt("mlm 1:"))).rejects.toMatchObject({ code: "stopped" });
  await expect(tune({ ...request, resume: true, seed: 1 })).rejects.toMatchObject({
    code: "resume-mismatch",
    details: { changed: ["seed"] },
  });
  await expect(tune(request)).rejects.toMatchObject({ code: "training-exists" });
  const { folder } = await tune({ ...request, resume: true });
  expect((await modelBytes(folder)).length).toBe((await modelBytes(source)).length);
});
