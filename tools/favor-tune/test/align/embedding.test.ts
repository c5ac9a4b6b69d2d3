import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { silent } from "@favor/checkpoints";
import { predictsMasks } from "@favor/report";
import type { CurvePoint, FavorFile } from "@favor/report";
import { verify } from "favor-convert";
import { calibration, validation } from "@favor/test-support/antibody";
import { expect, test } from "vitest";

import { tune } from "../../src/index.ts";
import type { TuneRequest } from "../../src/index.ts";
import { embeddingOnce } from "../converted.ts";
import { favorTune } from "../terminal.ts";

const { original, converted } = embeddingOnce({ count: 16 });
const small = { data: calibration, maxLength: 40, batch: 4, evalCount: 30, backend: "wasm", threads: 1 } as const;

test("a model of embeddings is distilled and aligned by default, and measured by its embeddings", async () => {
  const source = await converted();
  const output = `${source}-tuned`;
  const given = ["--teacher", original(), "--data", calibration, "--eval-data", validation, "--eval-count", "30"];
  const quick = ["--max-length", "40", "--batch", "4", "--backend", "wasm", "--threads", "1"];
  const steps = ["--distill-steps", "4", "--align-steps", "8", "--learning-rate", "0.002"];
  const { status, stdout } = await favorTune(source, ...given, ...quick, ...steps);
  expect(status).toBe(0);
  expect(stdout).toMatch(/cosine of the embeddings +│ 0\.\d+ +│ 0\.\d+/);
  expect(stdout).toMatch(/After 4 steps of distillation and 8 steps of alignment: Mean cosine of the embeddings/);
  const favor = JSON.parse(await readFile(join(output, "favor.json"), "utf8"));
  const { tuning, evaluation } = favor;
  expect(tuning.stages.map(({ name }: { name: string }) => name)).toEqual(["distill", "align"]);
  expect(tuning.curveOf).toBe("cosine of the embeddings");
  const { before, after } = tuning.measured;
  expect(after.cosine.value).toBeGreaterThan(before.cosine.value);
  // On other texts than those that the result is measured on.
  expect(tuning.curve[0].value).not.toBe(before.cosine.value);
  const best = Math.max(...tuning.curve.map(({ value }: CurvePoint) => value));
  const { kept } = tuning.stages.at(-1);
  expect(tuning.curve.find(({ step }: CurvePoint) => step === 4 + kept).value).toBe(best);
  expect(evaluation).toEqual(after);
  const report = await readFile(join(output, "report.html"), "utf8");
  expect(report).toContain("Cosine of the embeddings on held-out data");
  // Trained on shorter sequences than verify reads.
  const { checks } = await verify({ original: original(), converted: output, threads: 1 });
  expect(checks.filter(({ passed }) => !passed)).toEqual([]);
});

const modelBytes = async (path: string): Promise<Buffer> => readFile(join(path, "onnx", "model.onnx"));

/** Presses Ctrl-C after the third step of alignment. */
const stopAtThree = (line: string): void => void (line.includes("align 3:") && process.emit("SIGINT", "SIGINT"));

test("alignment that was stopped ends in the same bytes", async () => {
  const request = { ...small, teacher: original(), stage: "align", steps: 4, evalEvery: 1 } as const;
  const whole = { ...request, source: await converted() };
  const { folder: uninterrupted } = await tune(whole);
  const again = { ...request, source: await converted() };
  await expect(tune(again, { ...silent, note: stopAtThree })).rejects.toMatchObject({ code: "stopped" });
  const { folder } = await tune({ ...again, resume: true });
  expect((await modelBytes(folder)).equals(await modelBytes(uninterrupted))).toBe(true);
});

test("a stage that makes the model worse leaves it as it was, unless the last weights are asked for", async () => {
  const source = await converted();
  const tuned = async (weights: "best" | "last"): Promise<readonly [Buffer, string, FavorFile]> => {
    const notes: string[] = [];
    const stages = { stage: ["distill", "align"], steps: 1, learningRate: 2, distillLearningRate: 2 } as const;
    const request = { ...small, ...stages, source, teacher: original(), weights, output: `${source}-${weights}` };
    const { folder, favor } = await tune(request, { ...silent, note: (line) => void notes.push(line) });
    return [await modelBytes(folder), notes.join("\n"), favor];
  };
  const [best, kept, { tuning }] = await tuned("best");
  expect(best.equals(await modelBytes(source))).toBe(true);
  expect(tuning!.stages.map((stage) => stage.kept)).toEqual([0, 0]);
  expect(kept).toMatch(/align made the model no better .* so its weights stay as they were\. .* --learning-rate/);
  expect(kept).not.toContain("Training made the model worse");
  const [last, worse] = await tuned("last");
  expect(last.equals(best)).toBe(false);
  expect(worse).toMatch(/Training made the model worse: its cosine of the embeddings .* --learning-rate/);
});

test("the stages of a model are those that it has; they come in their order", async () => {
  const source = await converted();
  const request: TuneRequest = { ...small, source, teacher: original(), steps: 1 };
  await expect(tune({ ...request, stage: ["align", "distill"] })).rejects.toMatchObject({ code: "bad-arguments" });
  await expect(tune({ ...request, stage: "mlm" })).rejects.toMatchObject({ code: "not-masked-language" });
  await expect(tune({ source, data: calibration, stage: "align" })).rejects.toThrow(/--teacher/);
  const { favor } = await tune({ ...request, stage: "align", train: "attention", pooling: "cls" });
  const { measured } = favor.tuning!;
  if (predictsMasks(measured) || measured.after.kind !== "embedding") throw new Error("not measured as embeddings");
  expect(measured.after.pooling).toMatchObject({ modes: ["cls"], configured: "mean" });
  // For verify, which has to pool in the same way.
  expect(favor.options.pooling).toBe("cls");
});
