import { describe, expect, it } from "vitest";
import {
  MomentAccumulator,
  RandomStream,
  attentionError,
  createFeatureMap,
  exactSample,
  fitLandmarks,
  refineLandmarks,
  streamPurpose,
} from "../../src/index.ts";
import { balance } from "../../src/calibration/balance.ts";
import { attentionLoss } from "../../src/calibration/refine-landmarks.ts";
import { sampleAttention } from "../../src/calibration/sample-attention.ts";
import { normals } from "../features/samples.ts";
import { sequences } from "./sequences.ts";

const dim = 8;
const count = 16;
const train = sequences(20, 40, 1000);
const accumulator = new MomentAccumulator(dim);
for (const { query, key } of train) accumulator.add(query, key);
const moments = accumulator.moments();
const landmarks = fitLandmarks(train, moments, { count, seed: 0 });

describe("attentionLoss", () => {
  const stream = new RandomStream({ seed: 0, purpose: streamPurpose.trials });
  const sample = sampleAttention(train.slice(0, 3), balance(moments), 90, stream);
  const parameters = {
    keyLandmarks: normals(count * dim, 1, 0.5),
    queryLandmarks: normals(count * dim, 2, 0.5),
    logCore: normals(count * count, 3),
  };

  it.each(["keyLandmarks", "queryLandmarks", "logCore"] as const)("its gradient in %s is right", (name) => {
    const { gradient } = attentionLoss(parameters, sample, dim, count);
    const size = Math.max(...gradient[name].map(Math.abs));
    for (const index of [0, 7, 50, 127]) {
      const lossAt = (step: number): number => {
        const moved = parameters[name].map((value, i) => (i === index ? value + step : value));
        return attentionLoss({ ...parameters, [name]: moved }, sample, dim, count).loss;
      };
      const numeric = (lossAt(1e-5) - lossAt(-1e-5)) / 2e-5;
      expect(Math.abs(numeric - gradient[name][index]!)).toBeLessThan(1e-6 * size);
    }
  });

  it("does not see the scale of the core", () => {
    const { loss } = attentionLoss(parameters, sample, dim, count);
    const scaled = { ...parameters, logCore: parameters.logCore.map((value) => value + 900) };
    expect(attentionLoss(scaled, sample, dim, count).loss).toBeCloseTo(loss, 10);
    expect(loss).toBeGreaterThan(0);
  });
});

describe("refineLandmarks", () => {
  const refined = refineLandmarks(landmarks, train, { seed: 0, steps: 40 });

  it("brings the attention of unseen inputs much nearer to softmax", () => {
    const unseen = exactSample(sequences(5, 40, 5000), dim);
    const before = attentionError(createFeatureMap(landmarks), unseen);
    const after = attentionError(createFeatureMap(refined), unseen);
    expect(after.misplaced).toBeLessThan(0.75 * before.misplaced);
    expect(after.relative).toBeLessThan(0.85 * before.relative);
  });

  it("is deterministic, and gives a description of the same form, its core non-negative", () => {
    expect(refineLandmarks(landmarks, train, { seed: 0, steps: 40 })).toEqual(refined);
    expect(JSON.parse(JSON.stringify(refined))).toEqual(refined);
    expect(Object.keys(refined)).toEqual(Object.keys(landmarks));
    expect(refined.core.every((value) => value >= 0)).toBe(true);
    expect(refined.queryMatrix).toEqual(landmarks.queryMatrix);
  });

  it("refuses options and inputs that cannot be right", () => {
    expect(() => refineLandmarks(landmarks, train, { seed: 0, steps: 0 })).toThrow("options.steps");
    expect(() => refineLandmarks(landmarks, train, { seed: 0, learningRate: NaN })).toThrow("options.learningRate");
    expect(() => refineLandmarks(landmarks, [], { seed: 0 })).toThrow("inputs: expected at least one input");
  });
});
