// What must hold on every backend of tfjs, without a test runner: run by the tests in Node, and in a browser's page.
// Results are awaited (`data`), for webgpu has no other way.
import { exactAttention as exactReference } from "@favor/core";
import type { FeatureMapDescription } from "@favor/core";
import { causalLinearAttention, exactAttention, favorAttention, hybridAttention } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { hybridReference } from "../ops/hybrid-samples.ts";
import { everyMap, gaussians, reference, relativeError, sample, tensors } from "../ops/samples.ts";
import type { Sample } from "../ops/samples.ts";

export interface Check {
  readonly name: string;
  /** Rejects where the backend fails it. */
  readonly run: () => Promise<void>;
}

// longer than a chunk of the kernels on GPUs
const shape = { batch: 2, heads: 2, length: 70, dim: 4, valueDim: 3 };
const from = 30;
const keyMask = Array.from({ length: shape.batch * shape.length }, (_, i) => (i % 6 === 5 ? 0 : 1));
// small enough that no trigonometric normaliser comes near 0; wavesOfOne has those that do
const inputs = sample(shape, 0.4);
const upstream = gaussians(shape.batch * shape.heads * shape.length * shape.valueDim, 31);
const maps = everyMap(shape.dim, 8);
const positive = maps["positive"]!;

let largestError = 0;

/** The largest relative error that {@link requireClose} has met since the last call. */
export function takeLargestError(): number {
  const taken = largestError;
  largestError = 0;
  return taken;
}

/** max |a - b| / max |b| is at most `limit`. */
export function requireClose(
  what: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  limit: number,
): void {
  const error = relativeError(actual, expected);
  largestError = Math.max(largestError, error);
  if (!(error <= limit)) throw new Error(`${what}: relative error ${error} above ${limit}`);
}

const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
};

const mask = (): tf.Tensor => tf.tensor2d(keyMask, [shape.batch, shape.length]);

async function equalsCore(featureMap: FeatureMapDescription): Promise<void> {
  for (const causal of [false, true]) {
    const out = favorAttention(...tensors(inputs, shape), { featureMap, mask: mask(), causal });
    const expected = reference(inputs, shape, [featureMap], { mask: keyMask, causal });
    requireClose(`causal ${causal}`, await out.data(), expected, 1e-4);
  }
}

function requireDifference(what: string, actual: number, at: (t: number) => number, step: number): void {
  const expected = (at(step) - at(-step)) / (2 * step);
  if (Math.abs(actual - expected) <= 2e-3 * (1 + Math.abs(expected))) return;
  throw new Error(`${what}: ${actual}, by differences ${expected}`);
}

/** Along one direction per input, the gradient against differences of @favor/core in float64. */
async function gradientsEqualDifferences(featureMap: FeatureMapDescription): Promise<void> {
  const step = 1e-5;
  for (const causal of [false, true]) {
    const options = { featureMap, causal, mask: mask() };
    const dy = tf.tensor(upstream, [shape.batch, shape.heads, shape.length, shape.valueDim]);
    const gradients = tf.grads((q, k, v) => favorAttention(q!, k!, v!, options))(tensors(inputs, shape), dy);
    for (const [i, name] of (["q", "k", "v"] as const).entries()) {
      const direction = gaussians(inputs[name].length, 50 + i);
      const at = (t: number): number => {
        const moved: Sample = { ...inputs, [name]: Float64Array.from(inputs[name], (x, l) => x + t * direction[l]!) };
        return dot(upstream, reference(moved, shape, [featureMap], { mask: keyMask, causal }));
      };
      requireDifference(`d${name}, causal ${causal}`, dot(await gradients[i]!.data(), direction), at, step);
    }
  }
}

/** Values and gradients of hybrid attention, with blocks chosen. */
async function hybridEqualsCore(featureMap: FeatureMapDescription | undefined): Promise<void> {
  const exactKeys = { window: 16, chosenBlocks: 1 };
  const estimating = featureMap ? [featureMap] : [];
  const step = 1e-5;
  for (const causal of [false, true]) {
    const options = { featureMap, exactKeys, mask: mask(), causal };
    const given = { exactKeys, maps: estimating, mask: keyMask, causal };
    const out = hybridAttention(...tensors(inputs, shape), options);
    requireClose(`causal ${causal}`, await out.data(), hybridReference(inputs, shape, given), 1e-4);
    const dy = tf.tensor(upstream, [shape.batch, shape.heads, shape.length, shape.valueDim]);
    const gradients = tf.grads((q, k, v) => hybridAttention(q!, k!, v!, options))(tensors(inputs, shape), dy);
    for (const [i, name] of (["q", "k", "v"] as const).entries()) {
      const direction = gaussians(inputs[name].length, 50 + i);
      const at = (t: number): number => {
        const moved: Sample = { ...inputs, [name]: Float64Array.from(inputs[name], (x, l) => x + t * direction[l]!) };
        return dot(upstream, hybridReference(moved, shape, given));
      };
      requireDifference(`d${name}, causal ${causal}`, dot(await gradients[i]!.data(), direction), at, step);
    }
  }
}

function rows(x: tf.Tensor, count: number): tf.Tensor {
  return x.slice([0, 0, 0, 0], [-1, -1, count, -1]);
}

/** FAVOR or softmax with the same options. */
const attentions: Readonly<Record<string, Attend>> = {
  favor: (x, options) => favorAttention(...tensors(x, shape), { featureMap: positive, ...options }),
  softmax: (x, options) => exactAttention(...tensors(x, shape), options),
};
type Attend = (x: Sample, options: { mask?: tf.Tensor; causal: boolean }) => tf.Tensor;

/** What later keys and values are multiplied by: to be large, to overflow in products or sums, and to be no numbers. */
const laterFactors: readonly (readonly [number, number])[] = [
  [20, 9],
  [1e10, -7],
  [-1e10, 9],
  [1e30, 1e30],
  [1e38, 1e38],
  [NaN, 1],
  [1, NaN],
  [Infinity, -Infinity],
];

/** Rows before later keys and values, and the gradients of their queries, for the inputs and changed ones. */
async function laterKeysChangeNothing(attend: CausalAttend, factors: typeof laterFactors): Promise<void> {
  const [q, k, v] = tensors(inputs, shape);
  const rowsBefore = async (key: number, value: number): Promise<ArrayLike<number>[]> => {
    const isLater = tf.greaterEqual(tf.range(0, shape.length), from).reshape([shape.length, 1]);
    const times = (x: tf.Tensor, factor: number): tf.Tensor =>
      tf.where(tf.greater(tf.mul(isLater.toFloat(), tf.onesLike(x)), 0), tf.fill(x.shape, factor).mul(x), x);
    const of = (query: tf.Tensor): tf.Tensor => attend(query, times(k, key), times(v, value));
    return [await rows(of(q), from).data(), await rows(tf.grad(of)(q), from).data()];
  };
  const [out, dq] = await rowsBefore(1, 1);
  for (const [key, value] of factors) {
    const [changed, changedGradient] = await rowsBefore(key, value);
    const what = `keys times ${key}, values times ${value}`;
    requireClose(`${what}: rows before`, changed!, out!, 0);
    // the product of a gradient with a later value overflows before it is left out
    if (Math.abs(value) <= 1e30 || !Number.isFinite(value))
      requireClose(`${what}: dq before`, changedGradient!, dq!, 0);
  }
}

type CausalAttend = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) => tf.Tensor;

const lower = (): tf.Tensor => tf.linalg.bandPart(tf.ones([shape.length, shape.length]), -1, 0);

/** Every attention in which a query sees the keys up to its own. */
const causalAttentions: Readonly<Record<string, CausalAttend>> = {
  favor: (...x) => favorAttention(...x, { featureMap: positive, causal: true }),
  softmax: (...x) => exactAttention(...x, { causal: true }),
  "softmax, padding": (...x) => exactAttention(...x, { causal: true, mask: mask() }),
  "softmax, mask per query": (...x) =>
    exactAttention(...x, { mask: lower().reshape([1, 1, shape.length, shape.length]).tile([shape.batch, 1, 1, 1]) }),
  hybrid: (...x) =>
    hybridAttention(...x, { featureMap: positive, causal: true, exactKeys: { window: 8, chosenBlocks: 1 } }),
  "hybrid without features": (...x) =>
    hybridAttention(...x, { causal: true, exactKeys: { window: 8, chosenBlocks: 1 } }),
};

export const laterKeysChecks: readonly Check[] = Object.entries(causalAttentions).map(([name, attend]) => ({
  name: `${name}, causal: later keys change no bit`,
  run: () => {
    // README, Limits: larger keys do not hold there with the sums of features
    const isLimited = name === "hybrid" && tf.getBackend() === "webgpu";
    return laterKeysChangeNothing(attend, isLimited ? laterFactors.slice(0, 3) : laterFactors);
  },
}));

async function hiddenKeysChangeNothing(attend: Attend): Promise<void> {
  for (const [key, value] of [
    [1e4, -1e4],
    [NaN, NaN],
  ] as const) {
    const spoiled = { ...inputs, k: inputs.k.slice(), v: inputs.v.slice() };
    for (let row = 0; row < shape.batch * shape.heads * shape.length; row++) {
      const batch = Math.floor(row / (shape.heads * shape.length));
      if (keyMask[batch * shape.length + (row % shape.length)] === 1) continue;
      spoiled.k.fill(key, row * shape.dim, (row + 1) * shape.dim);
      spoiled.v.fill(value, row * shape.valueDim, (row + 1) * shape.valueDim);
    }
    for (const causal of [false, true]) {
      const [clean, other] = [inputs, spoiled].map((x) => attend(x, { mask: mask(), causal }));
      requireClose(`${key}, causal ${causal}`, await other!.data(), await clean!.data(), 0);
    }
  }
}

/** No query, or no key, and the gradients. */
async function noRows(attend: (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) => tf.Tensor): Promise<void> {
  for (const [queries, keys] of [
    [0, 0],
    [3, 0],
    [0, 3],
  ] as const) {
    const three = [tf.ones([1, 2, queries, 4]), tf.ones([1, 2, keys, 4]), tf.ones([1, 2, keys, 3])];
    const out = attend(three[0]!, three[1]!, three[2]!);
    requireClose(`${queries} queries, ${keys} keys`, await out.data(), new Float32Array(2 * queries * 3), 0);
    for (const [i, gradient] of tf
      .grads((q, k, v) => attend(q!, k!, v!))(three)
      .entries()) {
      requireClose(`gradient ${i}`, await gradient.data(), new Float32Array(three[i]!.size), 0);
    }
  }
}

async function paddingChangesNothing(): Promise<void> {
  const [q, k, v] = tensors(inputs, shape);
  const short = favorAttention(rows(q, from), rows(k, from), rows(v, from), { featureMap: positive });
  const shown = tf.concat([tf.ones([2, from]), tf.zeros([2, shape.length - from])], 1);
  const padded = favorAttention(q, k, v, { featureMap: positive, mask: shown });
  requireClose("rows before the padding", await rows(padded, from).data(), await short.data(), 1e-5);
}

async function sequencesAreApart(): Promise<void> {
  const three = tensors(inputs, shape);
  const alone = three.map((x) => x.slice([1, 0, 0, 0], [1, -1, -1, -1])) as [tf.Tensor, tf.Tensor, tf.Tensor];
  for (const causal of [false, true]) {
    const together = favorAttention(...three, { featureMap: positive, causal }).slice([1, 0, 0, 0], [1, -1, -1, -1]);
    const second = favorAttention(...alone, { featureMap: positive, causal });
    requireClose(`causal ${causal}`, await second.data(), await together.data(), 1e-5);
  }
}

async function softmaxEqualsCore(): Promise<void> {
  const one = { ...shape, batch: 1, heads: 1 };
  const few = sample(one);
  const shown = keyMask.slice(0, shape.length);
  for (const causal of [false, true]) {
    const out = exactAttention(...tensors(few, one), { mask: tf.tensor2d(shown, [1, shape.length]), causal });
    const [q, k, v] = [few.q, few.k, few.v].map((x) => Float64Array.from(x)) as [
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    const options = { dim: one.dim, valueDim: one.valueDim, scale: one.dim ** -0.5, keyMask: shown, causal };
    requireClose(`causal ${causal}`, await out.data(), exactReference(q, k, v, options), 1e-5);
  }
}

/** y_i of the definition for one group in float64, weights exp(-|r_i - r_j|). */
function pairByPair(
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  r: Float32Array,
  reverse: boolean,
): Float64Array {
  const [features, width] = [q.length / r.length, v.length / r.length];
  const y = new Float64Array(v.length);
  for (let i = 0; i < r.length; i++) {
    for (let j = 0; j < r.length; j++) {
      if (reverse ? j < i : j > i) continue;
      const product = dot(q.subarray(i * features, (i + 1) * features), k.subarray(j * features, (j + 1) * features));
      const weight = product * Math.exp(-Math.abs(r[i]! - r[j]!));
      for (let c = 0; c < width; c++) y[i * width + c]! += weight * v[j * width + c]!;
    }
  }
  return y;
}

async function causalKernel(): Promise<void> {
  const [length, features, width] = [150, 6, 5];
  const [q, k, v, dy] = [features, features, width, width].map((columns, i) => gaussians(length * columns, 60 + i)) as [
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  const r = Float32Array.from({ length }, (_, i) => 0.2 * Math.floor(i / 3) + (i > 100 ? 50 : 0));
  const tensor = (x: Float32Array): tf.Tensor => tf.tensor(x, [1, length, x.length / length]);
  for (const reverse of [false, true]) {
    const attend = (a: tf.Tensor, b: tf.Tensor, c: tf.Tensor): tf.Tensor =>
      causalLinearAttention(a, b, c, { reference: tf.tensor2d(r, [1, length]), reverse });
    const three = [tensor(q), tensor(k), tensor(v)] as const;
    requireClose("y", await attend(...three).data(), pairByPair(q, k, v, r, reverse), 1e-5);
    const gradients = tf.grads((a, b, c) => attend(a!, b!, c!))([...three], tensor(dy));
    requireClose("dq", await gradients[0]!.data(), pairByPair(dy, v, k, r, reverse), 1e-5);
    requireClose("dk", await gradients[1]!.data(), pairByPair(v, dy, q, r, !reverse), 1e-5);
    requireClose("dv", await gradients[2]!.data(), pairByPair(k, q, dy, r, !reverse), 1e-5);
  }
}

async function trains(): Promise<void> {
  const [q, k, v] = tensors(inputs, shape);
  const weight = tf.variable(tf.tensor2d(gaussians(shape.dim ** 2, 3), [shape.dim, shape.dim]));
  const loss = (): tf.Scalar => {
    const projected = tf.reshape(tf.matMul(tf.reshape(q, [-1, shape.dim]), weight), q.shape);
    return tf.mean(tf.square(favorAttention(projected, k, v, { featureMap: positive, causal: true })));
  };
  const optimizer = tf.train.adam(0.1);
  const [first] = await loss().data();
  for (let step = 0; step < 5; step++) tf.tidy(() => void optimizer.minimize(loss));
  const [last] = await loss().data();
  weight.dispose();
  optimizer.dispose();
  if (!(last! < first!)) throw new Error(`loss ${first} to ${last}`);
}

/** As tfjs counts: temporaries of the kernels too. */
async function leavesNothing(): Promise<void> {
  const three = tensors(inputs, shape);
  const before = tf.memory().numTensors;
  const backendBefore = tf.backend().numDataIds();
  for (const causal of [false, true]) {
    tf.tidy(() => void tf.grads((q, k, v) => favorAttention(q!, k!, v!, { featureMap: positive, causal }))(three));
  }
  const left = [tf.memory().numTensors - before, tf.backend().numDataIds() - backendBefore];
  if (left.some((count) => count !== 0)) throw new Error(`${left[0]} tensors and ${left[1]} arrays left`);
}

/** Where the features of most keys are no float32 any more. */
async function wideInputs(featureMap: FeatureMapDescription): Promise<void> {
  const wide = { batch: 1, heads: 1, length: 24, dim: 64, valueDim: 3 };
  const given = sample(wide, 10);
  const out = favorAttention(...tensors(given, wide), { featureMap });
  // exponents of some 400 have an error of 3e-5 in float32
  requireClose("bidirectional", await out.data(), reference(given, wide, [featureMap]), 2e-3);
  for (const causal of [false, true]) {
    const gradients = tf.grads((q, k, v) => favorAttention(q!, k!, v!, { featureMap, causal }))(tensors(given, wide));
    for (const [i, gradient] of gradients.entries()) {
      const found = (await gradient.data()).find((x) => !Number.isFinite(x));
      if (found !== undefined) throw new Error(`gradient ${i}, causal ${causal}: ${found}`);
    }
  }
}

/** Inputs of standard deviation 1, whose normalisers come near 0, where each rounding of a wave counts a thousand times. */
async function wavesOfOne(featureMap: FeatureMapDescription): Promise<void> {
  const wide = sample(shape, 1);
  for (const causal of [false, true]) {
    const out = favorAttention(...tensors(wide, shape), { featureMap, mask: mask(), causal });
    const expected = reference(wide, shape, [featureMap], { mask: keyMask, causal });
    requireClose(`causal ${causal}`, await out.data(), expected, 1e-3);
  }
}

export const checks: readonly Check[] = [
  ...Object.entries(maps).map(([name, map]) => ({ name: `${name}: equals core`, run: () => equalsCore(map) })),
  ...Object.entries(maps).map(([name, map]) => ({
    name: `${name}: gradients equal differences`,
    run: () => gradientsEqualDifferences(map),
  })),
  ...["landmark", "calibrated", "none"].map((name) => ({
    name: `hybrid attention, ${name} features: values and gradients equal core`,
    run: () => hybridEqualsCore(maps[name]),
  })),
  ...["positive", "hyperbolic"].map((name) => ({
    name: `${name}: inputs of standard deviation 10`,
    run: () => wideInputs(everyMap(64, 16)[name]!),
  })),
  ...laterKeysChecks,
  ...Object.entries(attentions).flatMap(([name, attend]) => [
    { name: `${name}: a hidden key and its value change no bit`, run: () => hiddenKeysChangeNothing(attend) },
  ]),
  ...Object.keys(maps)
    .filter((name) => name.startsWith("trigonometric"))
    .map((name) => ({ name: `${name}: inputs of standard deviation 1`, run: () => wavesOfOne(maps[name]!) })),
  { name: "favor: no rows", run: () => noRows((q, k, v) => favorAttention(q, k, v, { featureMap: positive })) },
  { name: "softmax: no rows", run: () => noRows((q, k, v) => exactAttention(q, k, v)) },
  {
    name: "hybrid: no rows",
    run: () => noRows((...x) => hybridAttention(...x, { exactKeys: { window: 2, chosenBlocks: 1, near: false } })),
  },
  { name: "padding changes nothing before it", run: paddingChangesNothing },
  { name: "sequences of a batch do not see each other", run: sequencesAreApart },
  { name: "softmax equals core", run: softmaxEqualsCore },
  { name: "the causal kernel and its gradients, both ways", run: causalKernel },
  { name: "an optimiser lowers a loss", run: trains },
  { name: "leaves no tensor behind", run: leavesNothing },
];
