import { join } from "node:path";

import { RandomStream, streamPurpose } from "@favor/core";
import { MomentAccumulator, calibrate, fitLandmarks, refineLandmarks } from "@favor/core/calibration";
import type { FeatureMapDescription } from "@favor/core";
import type { HeadMoments } from "@favor/core/calibration";
import { expect, test } from "vitest";

import { runHeadJob } from "../src/calibrate/head-job.ts";
import type { HeadInput } from "../src/calibrate/samples.ts";
import { convert } from "../src/commands/convert.ts";
import { silent } from "@favor/checkpoints";
import { calibration } from "@favor/test-support/antibody";
import { intoBranches, withModel } from "./edited-models.ts";
import { temporaryFolder } from "@favor/test-support/temporary-folder";

const dim = 8;

function inputsOf(seed: number): HeadInput[] {
  const stream = new RandomStream({ seed, purpose: streamPurpose.trials });
  const rows = (): Float32Array => Float32Array.from(stream.gaussians(40 * dim));
  return Array.from({ length: 6 }, () => ({ query: rows(), key: rows() }));
}

function momentsOf(inputs: readonly HeadInput[]): HeadMoments {
  const accumulator = new MomentAccumulator(dim);
  for (const { query, key } of inputs) accumulator.add(Float64Array.from(query), Float64Array.from(key));
  return accumulator.moments();
}

test.each([true, false])("landmarks are compared with random features as they will be used, causal: %s", (causal) => {
  const [inputs, heldOut] = [inputsOf(1), inputsOf(2)];
  const moments = momentsOf(inputs);
  const address = { seed: 0, layer: 0, head: 0, count: 16, refine: 0 };
  const fit = runHeadJob({ kind: "landmark", inputs, heldOut, moments, ...address, causal });
  const errors = [true, false].map((order) =>
    runHeadJob({ kind: "error", inputs: heldOut, description: fit.landmark, causal: order }),
  );
  expect(errors[0]).not.toBeCloseTo(errors[1]!, 3);
  expect(fit.landmarkError).toBe(errors[causal ? 0 : 1]);
});

test("refined landmarks are kept where they are nearer on inputs that the fit has not seen", () => {
  const accumulator = new MomentAccumulator(dim);
  const shared = { seed: 0, layer: 0, head: 0, causal: true } as const;
  const kept = [1, 2, 3, 4].map((seed) => {
    // So few inputs that gradient descent may fit them rather than what is behind them.
    const [inputs, heldOut] = [inputsOf(seed).slice(0, 1 + (seed % 2) * 5), inputsOf(seed + 10)];
    for (const { query, key } of inputs) accumulator.add(Float64Array.from(query), Float64Array.from(key));
    const moments = accumulator.moments();
    const errorOf = (description: FeatureMapDescription) =>
      runHeadJob({ kind: "error", inputs: heldOut, description, causal: true });
    const fitted = fitLandmarks(inputs, moments, { ...shared, count: 16 });
    const refined = refineLandmarks(fitted, inputs, { ...shared, steps: 30 });
    const fit = runHeadJob({ kind: "landmark", inputs, heldOut, moments, ...shared, count: 16, refine: 30 });
    expect(fit.landmarkError).toBe(Math.min(errorOf(fitted), errorOf(refined)));
    expect(errorOf(fit.landmark)).toBe(fit.landmarkError);
    return errorOf(refined) < errorOf(fitted);
  });
  expect(new Set(kept)).toEqual(new Set([true, false]));
});

test.each([true, false])("the draw is chosen as it will be used, causal: %s", (causal) => {
  const inputs = inputsOf(3);
  const moments = momentsOf(inputs);
  const options = { count: 16, seed: 0, layer: 0, head: 0, projection: "orthogonal" } as const;
  const errorOf = (description: FeatureMapDescription) => runHeadJob({ kind: "error", inputs, description, causal });
  const calibrated = calibrate(moments, options);
  const errors = Array.from({ length: 8 }, (_, epoch) =>
    errorOf({ ...calibrated, projection: { ...calibrated.projection, epoch } }),
  );
  const chosen = runHeadJob({ kind: "selection", inputs, moments, causal, ...options, draws: 8 });
  expect(errorOf(chosen)).toBe(Math.min(...errors));
  expect(Math.max(...errors)).toBeGreaterThan(Math.min(...errors));
});

test("attention that calibration cannot see is named before anything is fitted", async () => {
  const source = await withModel(intoBranches);
  const output = join(await temporaryFolder(), "out");
  const stages: string[] = [];
  const progress = { ...silent, stage: (name: string) => void stages.push(name) };
  const calibrated = convert({ source, output, count: 16, calibrate: calibration, calibrateCount: 4 }, progress);
  await expect(calibrated).rejects.toThrow(/body of If, Loop or Scan.*without --calibrate/);
  expect(stages).not.toContain("Calibrating");
  const { sites } = await convert({ source, output, count: 16 });
  expect(sites.filter(({ state }) => state === "linear").length).toBeGreaterThan(0);
});
