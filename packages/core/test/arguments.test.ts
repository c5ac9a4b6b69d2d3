import { expect, it } from "vitest";

import * as calibration from "../src/calibration/index.ts";
import * as comparison from "../src/comparison/index.ts";
import * as root from "../src/index.ts";
import { ArgumentError, createFeatureMap, favorAttention, favorCausalAttention } from "../src/index.ts";
import type { StreamAddress } from "../src/index.ts";
import { orthogonalFactor } from "../src/linear-algebra/householder.ts";
import { symmetricEigen } from "../src/linear-algebra/symmetric-eigen.ts";
import * as theory from "../src/theory/index.ts";

const core = { ...root, ...calibration, ...comparison, ...theory };

const rows = new Float64Array(8);

// What TypeScript refuses, plain JavaScript may do.
it.each([undefined, null, {}, { featureMap: { kind: "positive" } }, { featureMap: "positive" }])(
  "attention with the options %j asks for a feature map",
  (options) => {
    for (const attention of [favorAttention, favorCausalAttention]) {
      const call = (): unknown => attention(rows, rows, rows, options as never);
      expect(call).toThrow(ArgumentError);
      expect(call).toThrow(/^options\.featureMap: expected a feature map, as createFeatureMap makes it, found /);
    }
  },
);

it("a misspelt kind of feature map: the kinds there are", () => {
  const projection = { kind: "orthogonal", count: 8, dim: 4, seed: 0 } as const;
  const make = (): unknown => createFeatureMap({ version: 1, kind: "positve", projection } as never);
  expect(make).toThrow(ArgumentError);
  expect(make).toThrow(/one of trigonometric, positive, .*squared-relu, found "positve"/);
  expect(() => createFeatureMap({ version: 1, kind: "toString", projection } as never)).toThrow(/one of trigonometric/);
});

it.each([undefined, null, "positive"])("%j is no description", (description) => {
  expect(() => createFeatureMap(description as never)).toThrow(ArgumentError);
});

type Call = (...given: unknown[]) => unknown;

const projection = { kind: "orthogonal", count: 8, dim: 4, seed: 0 } as const;
const positive = { version: 1, kind: "positive", projection } as const;
const map = createFeatureMap(positive);
const kernels = core.createKernels({ simd: "off" });
const shape = { heads: 1, queryRows: 2, keyRows: 2, count: 2, valueDim: 4 };
const shape32 = { heads: 1, queryRows: 2, keyRows: 2, dim: 4 };
const rows32 = new Float32Array(8);
const inputs = [{ query: rows, key: rows }];
const features32 = core.exponentialFeatures32(core.exponentialForm(positive));

/** A right call of each function; each of its first arguments is then left out, or null. */
const calls: Record<string, [call: (...given: never[]) => unknown, needed: number, given: unknown[]]> = {
  createProjection: [core.createProjection, 1, [projection]],
  drawProjection: [core.drawProjection, 1, [projection]],
  createFeatureMap: [createFeatureMap, 1, [positive]],
  exponentialForm: [core.exponentialForm, 1, [positive]],
  trigonometricForm: [core.trigonometricForm, 1, [{ ...positive, kind: "trigonometric", variant: "pair" }]],
  generalizedFeatureMap: [core.generalizedFeatureMap, 1, [{ ...positive, kind: "generalized", function: "relu" }]],
  coreMatrix: [core.coreMatrix, 1, [core.exponentialForm(positive)]],
  linearExponential: [core.linearExponential, 1, [core.exponentialForm(positive)]],
  exactAttention: [core.exactAttention, 4, [rows, rows, rows, { dim: 4 }]],
  favorAttention: [favorAttention, 4, [rows, rows, rows, { featureMap: map }]],
  favorCausalAttention: [favorCausalAttention, 4, [rows, rows, rows, { featureMap: map }]],
  startFavor: [core.startFavor, 1, [map]],
  startCausal: [core.startCausal, 1, [{ keyHeads: 1, count: 2, valueDim: 4 }]],
  stepCausal: [core.stepCausal, 2, [core.startFavor(map), { query: rows, key: rows, value: new Float64Array(4) }]],
  linearAttention: [
    core.linearAttention,
    2,
    [{ query: new Float64Array(4), key: new Float64Array(4), value: rows }, shape],
  ],
  causalLinearAttention: [
    core.causalLinearAttention,
    2,
    [{ query: new Float64Array(4), key: new Float64Array(4), value: rows }, shape],
  ],
  favorAttention32: [core.favorAttention32, 6, [kernels, rows32, rows32, rows32, shape32, features32]],
  exactAttention32: [core.exactAttention32, 5, [kernels, rows32, rows32, rows32, shape32]],
  favorAttentionBackward32: [
    core.favorAttentionBackward32,
    7,
    [kernels, rows32, rows32, rows32, shape32, features32, rows32],
  ],
  exactAttentionBackward32: [core.exactAttentionBackward32, 6, [kernels, rows32, rows32, rows32, shape32, rows32]],
  exponentialFeatures32: [core.exponentialFeatures32, 1, [core.exponentialForm(positive)]],
  attentionError: [core.attentionError, 2, [map, core.exactSample(inputs, 4)]],
  exactSample: [core.exactSample, 2, [inputs, 4]],
  featuresForError: [core.featuresForError, 3, [inputs, 10, { dim: 4, maximum: 8 }]],
  selectFeatureMap: [core.selectFeatureMap, 2, [[positive], core.exactSample(inputs, 4)]],
  fitFeatureCore: [core.fitFeatureCore, 3, [positive, inputs, { seed: 0 }]],
  attentionComplexity: [core.attentionComplexity, 2, ["exact", { length: 8, dim: 4 }]],
  theorem1: [core.theorem1, 1, [{ dim: 4, radius: 1, epsilon: 1 }]],
  sparseAttention: [core.sparseAttention, 4, [rows, rows, rows, { dim: 4, pattern: { kind: "strided", stride: 2 } }]],
  lshAttention: [core.lshAttention, 3, [rows, rows, { dim: 4, seed: 0 }]],
  symmetricEigen: [symmetricEigen, 2, [new Float64Array(4), 2]],
  orthogonalFactor: [orthogonalFactor, 2, [new Float64Array(4), 2]],
  createRandomStream: [(address: StreamAddress) => new core.RandomStream(address), 1, [{ seed: 0, purpose: 0 }]],
  createMomentAccumulator: [(dim: number) => new core.MomentAccumulator(dim), 1, [4]],
};

it.each(Object.entries(calls))("%s without one of its arguments names it", (_name, [call, needed, given]) => {
  const anyCall = call as Call;
  expect(() => anyCall(...given)).not.toThrow();
  for (let i = 0; i < needed; i++) {
    for (const nothing of [undefined, null]) {
      const without = given.map((argument, at) => (at === i ? nothing : argument));
      expect(() => anyCall(...without), `argument ${i} ${nothing}`).toThrow(ArgumentError);
    }
  }
  expect(() => anyCall()).toThrow(ArgumentError);
});

it.each<[string, Call, RegExp]>([
  [
    "calibrate",
    core.calibrate as Call,
    /^options: expected an object such as \{ count: 128, seed: 0 \}, found undefined/,
  ],
  ["fitLandmarks", core.fitLandmarks as Call, /^options: /],
  ["refineLandmarks", core.refineLandmarks as Call, /^options: /],
  ["selectSeed", core.selectSeed as Call, /^options: /],
  ["balance", core.balance as Call, /^moments: /],
  ["fitCore", core.fitCore as Call, /^system: /],
  ["createWorkers", core.createWorkers as Call, /^options: expected an object such as \{ threads: 4 \}/],
])("%s without arguments", (_name, call, message) => {
  expect(() => call()).toThrow(ArgumentError);
  expect(() => call()).toThrow(message);
});

it("arrays that are not typed are refused by name, not half way through", () => {
  const plain = Array.from(rows) as never;
  expect(() => favorCausalAttention(rows, rows, plain, { featureMap: map })).toThrow(
    /^value: expected a Float64Array or Float32Array \[.*\], found Array of 8/,
  );
  expect(() => core.exactAttention(plain, rows, rows, { dim: 4 })).toThrow(/^query: .* found Array of 8/);
});

it.each(["positive", "trigonometric", "calibrated", "landmark", "linear-exponential", "elu"])(
  "a description of kind %s and nothing else names what is missing",
  (kind) => {
    const make = (): unknown => createFeatureMap({ version: 1, kind } as never);
    expect(make).toThrow(ArgumentError);
    expect(make).toThrow(/^(projection|description\.\w+): /);
  },
);

it("the name of a method of every object is no function of generalized attention", () => {
  const description = { version: 1, kind: "generalized", function: "constructor", projection } as never;
  expect(() => createFeatureMap(description)).toThrow(/^description\.function: expected one of /);
});

it("a message never holds the numbers of a large array", () => {
  expect(() => core.crossoverLength(new Float64Array(100_000) as never)).toThrow(
    "count: expected an integer from 1 to 1048576, found Float64Array of 100000.",
  );
  expect(() => core.crossoverLength({ dim: 4 } as never)).toThrow(/found an object with dim\.$/);
});

it("more threads than any machine has are refused, not started", () => {
  expect(() => core.createWorkers({ threads: 1e6 })).toThrow(/^threads: expected an integer from 1 to 1024/);
});
