import * as calibration from "../src/calibration/index.ts";
import * as comparison from "../src/comparison/index.ts";
import * as root from "../src/index.ts";
import type { StreamAddress, WorkerOptions } from "../src/index.ts";
import * as theory from "../src/theory/index.ts";
import { normals } from "./features/samples.ts";

const core = { ...root, ...calibration, ...comparison, ...theory };

const rows = new Float64Array(8);
const rows32 = new Float32Array(8);
const projection = { kind: "orthogonal", count: 8, dim: 4, seed: 0 } as const;
const positive = { version: 1, kind: "positive", projection } as const;
const trigonometric = { version: 1, kind: "trigonometric", variant: "pair", projection } as const;
const generalized = { version: 1, kind: "generalized", function: "relu", projection } as const;
const map = core.createFeatureMap(positive);
const selector = core.averagedQueries();
const form = core.exponentialForm(positive);
const kernels = core.createKernels({ simd: "off" });
const features = core.exponentialFeatures32(form);
const inputs = [{ query: normals(24, 1), key: normals(24, 2) }];
const accumulator = new core.MomentAccumulator(4);
accumulator.add(inputs[0]!.query, inputs[0]!.key);
const moments = accumulator.moments();
const sample = core.exactSample(inputs, 4);
const hybridSample = core.hybridSample(inputs, 4);
const landmarks = core.fitLandmarks(inputs, moments, { count: 2, seed: 0 });
const stream = new core.RandomStream({ seed: 0, purpose: 0 });
const state = core.startFavor(map);
const hybridState = core.startHybrid({ featureMap: map, window: 2 });
const system = {
  count: 1,
  queryGram: Float64Array.of(1),
  keyGram: Float64Array.of(1),
  target: Float64Array.of(1),
  norm: 1,
};

const optionNames = {};
const shape = { heads: 1, queryRows: 2, keyRows: 2, count: 2, valueDim: 4 };
const shape32 = { heads: 1, queryRows: 2, keyRows: 2, dim: 4 };
const linear = { query: new Float64Array(4), key: new Float64Array(4), value: rows };
const hybrid = { window: 2, chosenBlocks: 1 };

/** What functions made, in which no name can be misspelt. */
export const made: ReadonlySet<unknown> = new Set<unknown>([
  map,
  form,
  selector,
  kernels,
  features,
  moments,
  sample,
  hybridSample,
  stream,
  state,
  hybridState,
  system,
  optionNames,
]);

export const samples = { map, projection, rows };

/** A right call of each function; `needed` of its arguments have to be there. */
export const calls: Record<string, [call: (...given: never[]) => unknown, needed: number, given: unknown[]]> = {
  requireOptions: [core.requireOptions, 0, ["options", {}, optionNames]],
  RandomStream: [(address: StreamAddress) => new core.RandomStream(address), 1, [{ seed: 0, purpose: 0 }]],
  philox4x32: [core.philox4x32, 0, [new Uint32Array(4), 0, 0, new Uint32Array(4)]],
  createProjection: [core.createProjection, 1, [projection]],
  drawProjection: [core.drawProjection, 1, [projection]],
  createFeatureMap: [core.createFeatureMap, 1, [positive]],
  checkDescription: [core.checkDescription, 1, [landmarks]],
  exponentialForm: [core.exponentialForm, 1, [positive]],
  trigonometricForm: [core.trigonometricForm, 1, [trigonometric]],
  generalizedFeatureMap: [core.generalizedFeatureMap, 1, [generalized, { value: Math.exp }]],
  withRowFactors: [core.withRowFactors, 2, [map, { keyFactor: { value: () => 1 } }]],
  coreMatrix: [core.coreMatrix, 1, [form]],
  linearExponential: [core.linearExponential, 1, [form]],
  optimalExponent: [core.optimalExponent, 0, [0.5]],
  optimalOprf: [core.optimalOprf, 0, [1, 4]],
  exactAttention: [core.exactAttention, 4, [rows, rows, rows, { dim: 4 }]],
  generalizedAttention: [core.generalizedAttention, 4, [rows, rows, rows, { dim: 4, kernel: () => 1 }]],
  favorAttention: [core.favorAttention, 4, [rows, rows, rows, { featureMap: map }]],
  favorCausalAttention: [core.favorCausalAttention, 4, [rows, rows, rows, { featureMap: map }]],
  favorAlibiAttention: [core.favorAlibiAttention, 4, [rows, rows, rows, { featureMap: map, slope: 1 }]],
  startFavor: [core.startFavor, 1, [map]],
  startCausal: [core.startCausal, 1, [{ keyHeads: 1, count: 2, valueDim: 4 }]],
  stepCausal: [core.stepCausal, 2, [state, { query: rows, key: rows, value: new Float64Array(4) }]],
  linearAttention: [core.linearAttention, 2, [linear, shape]],
  linearAttentionBackward: [core.linearAttentionBackward, 3, [linear, shape, rows]],
  causalLinearAttention: [core.causalLinearAttention, 2, [linear, shape, { chunk: 2 }]],
  causalLinearAttentionBackward: [core.causalLinearAttentionBackward, 3, [linear, shape, rows, { chunk: 2 }]],
  alibiLinearAttention: [core.alibiLinearAttention, 3, [linear, shape, { slopes: [1] }]],
  hybridAttention: [core.hybridAttention, 4, [rows, rows, rows, { dim: 4, ...hybrid }]],
  averagedQueries: [core.averagedQueries, 0, [{ candidates: { selector, count: 1 } }]],
  keyDeviations: [core.keyDeviations, 1, [{ directions: new Float64Array(4) }]],
  startHybrid: [core.startHybrid, 1, [{ featureMap: map, window: 2 }]],
  stepHybrid: [
    core.stepHybrid,
    2,
    [hybridState, { query: new Float64Array(4), key: new Float64Array(4), value: new Float64Array(4) }],
  ],
  createKernels: [core.createKernels, 0, [{ simd: "off" }]],
  createWorkers: [(options: WorkerOptions) => core.createWorkers(options).close(), 1, [{ threads: 1, simd: "off" }]],
  favorAttention32: [core.favorAttention32, 6, [kernels, rows32, rows32, rows32, shape32, features, { causal: true }]],
  exactAttention32: [core.exactAttention32, 5, [kernels, rows32, rows32, rows32, shape32, { scale: 1 }]],
  hybridAttention32: [core.hybridAttention32, 5, [kernels, rows32, rows32, rows32, shape32, features, hybrid]],
  favorAttentionBackward32: [
    core.favorAttentionBackward32,
    7,
    [kernels, rows32, rows32, rows32, shape32, features, rows32, { causal: true }],
  ],
  exactAttentionBackward32: [
    core.exactAttentionBackward32,
    6,
    [kernels, rows32, rows32, rows32, shape32, rows32, { scale: 1 }],
  ],
  hybridAttentionBackward32: [
    core.hybridAttentionBackward32,
    5,
    [kernels, rows32, rows32, rows32, shape32, features, rows32, hybrid],
  ],
  exponentialFeatures32: [core.exponentialFeatures32, 1, [form, { scale: 1 }]],
  trigonometricFeatures32: [core.trigonometricFeatures32, 1, [trigonometric, { scale: 1 }]],
  elementwiseFeatures32: [core.elementwiseFeatures32, 1, [generalized, { scale: 1 }]],
  MomentAccumulator: [(dim: number) => new core.MomentAccumulator(dim), 1, [4]],
  attentionError: [core.attentionError, 2, [map, sample]],
  balance: [core.balance, 1, [moments]],
  calibrate: [core.calibrate, 2, [moments, { count: 2, seed: 0 }]],
  exactSample: [core.exactSample, 2, [inputs, 4, { causal: true }]],
  featuresForError: [core.featuresForError, 3, [inputs, 10, { dim: 4, maximum: 8 }]],
  fitCore: [core.fitCore, 1, [system, { iterations: 2 }]],
  fitFeatureCore: [core.fitFeatureCore, 3, [positive, inputs, { seed: 0 }]],
  fitLandmarks: [core.fitLandmarks, 3, [inputs, moments, { count: 2, seed: 0, exactKeys: { window: 1 } }]],
  landmarkFitter: [core.landmarkFitter, 3, [inputs, moments, { seed: 0, exactKeys: { window: 1 } }]],
  refineLandmarks: [core.refineLandmarks, 3, [landmarks, inputs, { seed: 0, steps: 1, exactKeys: { window: 1 } }]],
  hybridError: [core.hybridError, 0, [map, hybridSample]],
  hybridSample: [core.hybridSample, 2, [inputs, 4, { exactKeys: { window: 1 } }]],
  hybridSamples: [core.hybridSamples, 3, [inputs, 4, [{ window: 1 }], { rows: 8 }]],
  kMeans: [core.kMeans, 3, [rows, 4, 1, stream, { iterations: 1 }]],
  keyDirections: [core.keyDirections, 3, [[normals(24, 3)], 4, { window: 2 }]],
  selectFeatureMap: [core.selectFeatureMap, 2, [[positive], sample]],
  selectSeed: [core.selectSeed, 3, [moments, sample, { count: 2, seed: 0, draws: 1 }]],
  lshAttention: [core.lshAttention, 3, [rows, rows, { dim: 4, seed: 0 }]],
  lshBuckets: [core.lshBuckets, 2, [rows, { dim: 4, buckets: 2, seed: 0, round: 0 }]],
  lshSubsets: [core.lshSubsets, 2, [rows, { dim: 4, seed: 0 }]],
  sharedKeys: [core.sharedKeys, 2, [rows, 4]],
  sparseAttention: [core.sparseAttention, 4, [rows, rows, rows, { dim: 4, pattern: { kind: "strided", stride: 2 } }]],
  sparseSubset: [core.sparseSubset, 1, [{ kind: "strided", stride: 2 }, 0, 2, true]],
  attentionComplexity: [core.attentionComplexity, 2, ["exact", { length: 8, dim: 4 }]],
  crossoverLength: [core.crossoverLength, 1, [8, { causal: true }]],
  theorem1: [core.theorem1, 1, [{ dim: 4, radius: 1, epsilon: 1 }]],
  theorem1Failure: [core.theorem1Failure, 2, [{ dim: 4, radius: 1, epsilon: 1 }, 8]],
  kernelVariance: [core.kernelVariance, 3, [positive, new Float64Array(4), new Float64Array(4)]],
};
