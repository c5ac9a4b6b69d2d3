import { describe, expect, it } from "vitest";
import {
  RandomStream,
  createFeatureMap,
  exactAttention,
  favorCausalAttention,
  streamPurpose,
} from "../../src/index.ts";
import {
  MomentAccumulator,
  attentionError,
  exactSample,
  fitLandmarks,
  hybridError,
  hybridSample,
  refineLandmarks,
} from "../../src/calibration/index.ts";
import type { FeatureMapDescription, LandmarkDescription } from "../../src/index.ts";
import { balance } from "../../src/calibration/balance.ts";
import { attentionLoss } from "../../src/calibration/refine-landmarks.ts";
import { sampleAttention } from "../../src/calibration/sample-attention.ts";
import { relativeError } from "../attention/samples.ts";
import { normals } from "../features/samples.ts";
import { sequences } from "./sequences.ts";
import type { Sequence } from "./sequences.ts";

const dim = 8;
const count = 16;
const train = sequences(20, 40, 1000);
const accumulator = new MomentAccumulator(dim);
for (const { query, key } of train) accumulator.add(query, key);
const moments = accumulator.moments();
const landmarks = fitLandmarks(train, moments, { count, seed: 0 });

/** Later keys are shifted: what a query attends to depends on where it stands. */
function drifting(inputs: readonly Sequence[]): Sequence[] {
  return inputs.map(({ query, key }) => ({
    query,
    key: key.map((value, i) => (i % dim < 2 ? value + (1.5 * i) / key.length : value)),
  }));
}

/** |out_hat - out| / |out| of causal attention to Gaussian values. */
function causalError(description: FeatureMapDescription, inputs: readonly Sequence[]): number {
  const featureMap = createFeatureMap(description);
  let squares = 0;
  let norm = 0;
  for (const [i, { query, key }] of inputs.entries()) {
    const value = normals(key.length, 700 + i);
    const exact = exactAttention(query, key, value, { dim, causal: true });
    const estimate = favorCausalAttention(query, key, value, { featureMap });
    for (let at = 0; at < exact.length; at++) {
      squares += (estimate[at]! - exact[at]!) ** 2;
      norm += exact[at]! ** 2;
    }
  }
  return Math.sqrt(squares / norm);
}

describe("attentionLoss", () => {
  const stream = new RandomStream({ seed: 0, purpose: streamPurpose.trials });
  const exactKeys = { window: 4, chosenBlocks: 1 };
  const samples = [{}, { causal: true }, { exactKeys }, { exactKeys, causal: true }, { slope: 0.2 }].map((options) =>
    sampleAttention(train.slice(0, 3), balance(moments), 90, stream, options),
  );
  const sample = samples[0]!;
  const parameters = {
    keyLandmarks: normals(count * dim, 1, 0.5),
    queryLandmarks: normals(count * dim, 2, 0.5),
    logCore: normals(count * count, 3),
  };

  it.each(
    (["keyLandmarks", "queryLandmarks", "logCore"] as const).flatMap((name) =>
      samples.map(
        (over, i) => [name, ["", ", causal", ", exact keys", ", causal, exact keys", ", ALiBi"][i]!, over] as const,
      ),
    ),
  )("its gradient in %s is right%s", (name, _, over) => {
    const { gradient } = attentionLoss(parameters, over, dim, count);
    const size = Math.max(...gradient[name].map(Math.abs));
    for (const index of [0, 7, 50, 127]) {
      const lossAt = (step: number): number => {
        const moved = parameters[name].map((value, i) => (i === index ? value + step : value));
        return attentionLoss({ ...parameters, [name]: moved }, over, dim, count).loss;
      };
      const numeric = (lossAt(1e-5) - lossAt(-1e-5)) / 2e-5;
      expect(Math.abs(numeric - gradient[name][index]!)).toBeLessThan(1e-6 * size);
    }
  });

  it("sees of causal attention what the attention of each prefix's last query is", () => {
    const [input] = train;
    const rows = input!.query.length / dim;
    const [causal] = sampleAttention([input!], balance(moments), rows, stream, { causal: true });
    for (const i of [0, 1, 17, rows - 1]) {
      const key = input!.key.subarray(0, (i + 1) * dim);
      const query = input!.query.subarray(i * dim, (i + 1) * dim);
      const [last] = sampleAttention([{ query, key }], balance(moments), 1, stream);
      const row = causal!.attention.subarray(i * rows, (i + 1) * rows);
      expect(relativeError(row.subarray(0, i + 1), last!.attention)).toBeLessThan(1e-12);
      expect(row.subarray(i + 1).every((value) => value === 0)).toBe(true);
      expect(causal!.logNormaliser[i]).toBeCloseTo(last!.logNormaliser[0]!, 10);
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

  it("fits causal attention when told that it is, where keys change along the sequence", () => {
    const [head, unseen] = [drifting(sequences(20, 40, 1000)), drifting(sequences(8, 40, 5000))];
    const seen = new MomentAccumulator(dim);
    for (const { query, key } of head) seen.add(query, key);
    const fitted = fitLandmarks(head, seen.moments(), { count, seed: 0 });
    const [over, causal] = [false, true].map((order) =>
      causalError(refineLandmarks(fitted, head, { seed: 0, steps: 40, causal: order }), unseen),
    );
    expect(causal).toBeLessThan(0.98 * over!);
    expect(causal).toBeLessThan(0.7 * causalError(fitted, unseen));
  });

  it.each([false, true])("brings what exact keys leave out nearer to softmax, causal: %s", (causal) => {
    const exactKeys = { window: 4, chosenBlocks: 1 };
    const unseen = hybridSample(sequences(5, 40, 5000), dim, { exactKeys, causal });
    const errorOf = (description: LandmarkDescription) => hybridError(createFeatureMap(description), unseen);
    const fitted = fitLandmarks(train, moments, { count, seed: 0, exactKeys, causal });
    const after = errorOf(refineLandmarks(fitted, train, { seed: 0, steps: 40, exactKeys, causal }));
    const before = errorOf(fitted);
    expect(after.misplaced).toBeLessThan(0.9 * before.misplaced);
    expect(after.relative).toBeLessThan(0.9 * before.relative);
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
    const uneven = { query: train[0]!.query.subarray(dim), key: train[0]!.key };
    expect(() => refineLandmarks(landmarks, [uneven], { seed: 0, causal: true })).toThrow(
      "inputs[0].key: expected as many keys as queries, 39, for causal attention",
    );
  });
});
