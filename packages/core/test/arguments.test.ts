import { expect, it } from "vitest";

import * as calibration from "../src/calibration/index.ts";
import * as comparison from "../src/comparison/index.ts";
import * as root from "../src/index.ts";
import { ArgumentError, createFeatureMap, favorAttention, favorCausalAttention } from "../src/index.ts";
import { orthogonalFactor } from "../src/linear-algebra/householder.ts";
import { symmetricEigen } from "../src/linear-algebra/symmetric-eigen.ts";
import * as theory from "../src/theory/index.ts";
import { calls, samples } from "./calls.ts";

const core = { ...root, ...calibration, ...comparison, ...theory };
const { map, projection, rows } = samples;

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
  const misspelt = { version: 1, kind: "positve", projection } as never;
  expect(() => createFeatureMap(misspelt)).toThrow(ArgumentError);
  expect(() => createFeatureMap(misspelt)).toThrow(/one of trigonometric, positive, .*squared-relu, found "positve"/);
  expect(() => createFeatureMap({ version: 1, kind: "toString", projection } as never)).toThrow(/one of trigonometric/);
});

it.each([undefined, null, "positive"])("%j is no description", (description) => {
  expect(() => createFeatureMap(description as never)).toThrow(ArgumentError);
});

type Call = (...given: unknown[]) => unknown;

/** Functions that are not public. */
const internal: typeof calls = {
  symmetricEigen: [symmetricEigen, 2, [new Float64Array(4), 2]],
  orthogonalFactor: [orthogonalFactor, 2, [new Float64Array(4), 2]],
};
const needing = Object.entries({ ...calls, ...internal }).filter(([, [, needed]]) => needed > 0);

it.each(needing)("%s without one of its arguments names it", (_name, [call, needed, given]) => {
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

it("descriptions of another kind are refused, and not taken for their own", () => {
  const positive = { version: 1, kind: "positive", projection } as never;
  expect(() => core.elementwiseFeatures32(positive)).toThrow(
    /^description\.kind: expected one of generalized, elu, squared-relu, found "?positive/,
  );
  expect(() => core.trigonometricFeatures32(positive)).toThrow(
    /^description\.kind: expected trigonometric, found "?positive/,
  );
});
