// FAVOR beside softmax in TensorFlow.js on the wasm backend, as ratios of one run: one head group of @favor/tfjs, and a
// train step of one encoder layer. `node dist/tfjs.js [--lengths 256,1024] [--count 64]`.
import { parseArgs } from "node:util";
import type { FeatureMapDescription } from "@favor/core";
import { PerformerEncoderLayer, favorAttention, repairBackend, softmaxAttention } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { version_wasm as wasmVersion } from "@tensorflow/tfjs-backend-wasm";
import { shortest } from "./timing.ts";

const { values } = parseArgs({
  options: {
    lengths: { type: "string", default: "256,512,1024,2048,4096" },
    count: { type: "string", default: "64" },
    seconds: { type: "string", default: "0.5" },
  },
});
const [heads, dim] = [4, 32];
const seconds = Number(values.seconds);
const attention: FeatureMapDescription = {
  version: 1,
  kind: "positive",
  projection: { kind: "orthogonal", count: Number(values.count), dim, seed: 1 },
};

type Attend = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) => tf.Tensor;
const favor: Attend = (q, k, v) => favorAttention(q, k, v, { featureMap: attention });
const favorCausal: Attend = (q, k, v) => favorAttention(q, k, v, { featureMap: attention, causal: true });
const softmaxCausal: Attend = (q, k, v) => softmaxAttention(q, k, v, { causal: true });

/** Milliseconds, or NaN where the backend has no memory for it. */
async function time(run: () => tf.TensorContainer): Promise<number> {
  try {
    return await shortest(() => tf.dispose(tf.tidy(run)), seconds);
  } catch (error) {
    if (!(error instanceof RangeError || /memory|allocat|unreachable/i.test(String(error)))) throw error;
    return Number.NaN;
  }
}

async function pass(length: number, attend: Attend, backward: boolean): Promise<number> {
  const [q, k, v] = [1, 2, 3].map((seed) => tf.randomNormal([1, heads, length, dim], 0, 1, "float32", seed));
  const gradients = tf.grads((a, b, c) => attend(a!, b!, c!));
  const ms = await time(() => (backward ? gradients([q!, k!, v!]) : attend(q!, k!, v!)));
  tf.dispose([q!, k!, v!]);
  return ms;
}

async function trainStep(length: number, kind: "softmax" | FeatureMapDescription): Promise<number> {
  const model = tf.sequential();
  const modelDim = heads * dim;
  const sizes = { modelDim, numHeads: heads, feedForwardDim: 4 * modelDim, attention: kind };
  model.add(new PerformerEncoderLayer({ ...sizes, inputShape: [length, modelDim] }));
  const optimizer = tf.train.adam(1e-3);
  const x = tf.randomNormal([1, length, modelDim], 0, 1, "float32", 1);
  const ms = await time(() => {
    optimizer.minimize(() => tf.mean(tf.square(model.apply(x, { training: true }) as tf.Tensor)) as tf.Scalar);
    return [];
  });
  optimizer.dispose();
  model.dispose();
  x.dispose();
  return ms;
}

tf.enableProdMode();
await tf.setBackend("wasm");
repairBackend();
console.log(
  `tfjs ${tf.version.tfjs}, wasm backend ${wasmVersion}, repaired; ${heads} heads of ${dim}, M = ${values.count}`,
);
console.log("milliseconds, softmax / FAVOR (times faster); NaN: no memory");
for (const length of values.lengths.split(",").map(Number)) {
  const cells: [string, number, number][] = [
    ["forward", await pass(length, softmaxAttention, false), await pass(length, favor, false)],
    ["with gradients", await pass(length, softmaxAttention, true), await pass(length, favor, true)],
    ["causal", await pass(length, softmaxCausal, true), await pass(length, favorCausal, true)],
    ["train step", await trainStep(length, "softmax"), await trainStep(length, attention)],
  ];
  const shown = cells.map(([name, exact, ours]) => {
    return `${name} ${exact.toFixed(1)} / ${ours.toFixed(1)} (${(exact / ours).toFixed(2)})`;
  });
  console.log(`L ${String(length).padStart(5)}  ${shown.join("   ")}`);
}
