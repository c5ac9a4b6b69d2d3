// Type tests: `npm run types` checks this file, nothing runs it.
import { expectTypeOf, test } from "vitest";

import {
  attentionError,
  calibrate,
  exactSample,
  fitLandmarks,
  selectFeatureMap,
  selectSeed,
} from "../src/calibration/index.ts";
import type {
  AttentionError,
  AttentionInput,
  BidirectionalSample,
  CausalSample,
  ExactSample,
  HeadMoments,
} from "../src/calibration/index.ts";
import {
  createFeatureMap,
  createKernels,
  createProjection,
  elementwiseFeatures32,
  exactAttention,
  exponentialFeatures32,
  exponentialForm,
  favorAttention,
  favorAttention32,
  favorAttentionBackward32,
  FavorError,
  trigonometricFeatures32,
} from "../src/index.ts";
import type {
  AttentionGradients32,
  AttentionWorkers,
  CalibratedDescription,
  FeatureMap,
  FeatureMapDescription,
  FeatureMapKind,
  HeadCoordinates,
  LandmarkDescription,
  LinearExponentialDescription,
  PositiveDescription,
} from "../src/index.ts";
import { attentionComplexity } from "../src/theory/index.ts";

declare const inputs: AttentionInput[];
declare const moments: HeadMoments;
declare const featureMap: FeatureMap;
declare const maybe: boolean;
declare const rows64: Float64Array;
declare const rows: Float32Array;
const shape = { heads: 1, queryRows: 2, keyRows: 2, dim: 4 };
const projection = { kind: "orthogonal", count: 8, dim: 4, seed: 0 } as const;
const positive = { version: 1, kind: "positive", projection } as const;

test("a sample is causal or not, and only one that is not says what is misplaced", () => {
  const both = exactSample(inputs, 4);
  const causal = exactSample(inputs, 4, { causal: true });
  expectTypeOf(both).toEqualTypeOf<BidirectionalSample>();
  expectTypeOf(exactSample(inputs, 4, { causal: false })).toEqualTypeOf<BidirectionalSample>();
  expectTypeOf(causal).toEqualTypeOf<CausalSample>();
  expectTypeOf(exactSample(inputs, 4, { causal: maybe })).toEqualTypeOf<ExactSample>();
  expectTypeOf(attentionError(featureMap, both)).toEqualTypeOf<AttentionError>();
  expectTypeOf(attentionError(featureMap, causal)).toEqualTypeOf<Pick<AttentionError, "relative">>();
  // @ts-expect-error: causal attention is compared by its outputs
  attentionError(featureMap, causal).misplaced.toFixed();
});

test("a choice keeps the kind of its candidates", () => {
  const candidates: PositiveDescription[] = [positive];
  expectTypeOf(selectFeatureMap(candidates, exactSample(inputs, 4)).description).toEqualTypeOf<PositiveDescription>();
  const options = { count: 8, seed: 0, draws: 4 };
  const chosen = selectSeed(moments, exactSample(inputs, 4, { causal: true }), options);
  expectTypeOf(chosen.description).toEqualTypeOf<CalibratedDescription>();
  expectTypeOf(calibrate(moments, options)).toEqualTypeOf<CalibratedDescription>();
  expectTypeOf(fitLandmarks(inputs, moments, options)).toEqualTypeOf<LandmarkDescription>();
});

test("a kind of features has its own fields, and what is fitted shares a head's coordinates", () => {
  expectTypeOf(createFeatureMap(positive)).toEqualTypeOf<FeatureMap>();
  // @ts-expect-error: no such kind
  createFeatureMap({ version: 1, kind: "softmax", projection });
  // @ts-expect-error: trigonometric features come in two variants
  createFeatureMap({ version: 1, kind: "trigonometric", projection });
  // @ts-expect-error: no such projection
  createProjection({ kind: "sparse", count: 8, dim: 4, seed: 0 });
  expectTypeOf<FeatureMapDescription["kind"]>().toEqualTypeOf<FeatureMapKind>();
  type Plain = HeadCoordinates<readonly number[]>;
  expectTypeOf<CalibratedDescription>().toExtend<Plain>();
  expectTypeOf<LandmarkDescription>().toExtend<Plain>();
  expectTypeOf<LinearExponentialDescription>().toExtend<Plain>();
});

test("float64 and float32 do not mix, and each family is prepared by its own function", () => {
  const kernels = createKernels();
  const features = exponentialFeatures32(exponentialForm(positive));
  expectTypeOf(favorAttention(rows64, rows64, rows64, { featureMap })).toEqualTypeOf<Float64Array>();
  expectTypeOf(favorAttention32(kernels, rows, rows, rows, shape, features)).toEqualTypeOf<Float32Array<ArrayBuffer>>();
  expectTypeOf(
    favorAttentionBackward32(kernels, rows, rows, rows, shape, [features], rows, { causal: true }),
  ).toEqualTypeOf<AttentionGradients32>();
  expectTypeOf<AttentionWorkers["favorAttention32"]>().returns.toEqualTypeOf<Promise<Float32Array>>();
  // @ts-expect-error: the reference is in float64
  exactAttention(rows, rows, rows, { dim: 4 });
  // @ts-expect-error: a feature map is prepared first
  favorAttention32(kernels, rows, rows, rows, shape, featureMap);
  // @ts-expect-error: positive features are exponential
  trigonometricFeatures32(positive);
  // @ts-expect-error: positive features are exponential
  elementwiseFeatures32(positive);
});

test("an error is recognised by its code, and a method by its name", () => {
  expectTypeOf<FavorError<"out-of-memory">["code"]>().toEqualTypeOf<"out-of-memory">();
  expectTypeOf(FavorError.isInstance).guards.toExtend<FavorError>();
  expectTypeOf(attentionComplexity).parameter(0).toEqualTypeOf<"exact" | "favor" | "lsh" | "sparse">();
  // @ts-expect-error: no such method
  attentionComplexity("linformer", { length: 8, dim: 4 });
});
