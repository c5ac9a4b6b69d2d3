#!/usr/bin/env node
// A training step of a BERT graph on wasm, as tfjs is and repaired: `node dist/train-step.js [--steps 5] [--layers 4]
// [--hidden 256] [--length 128] [--batch 4] [--vocabulary 30522]`. Prints processor time, and what of memory stays.
import { parseArgs } from "node:util";
import { DataType, memoryRange } from "@favor/onnx";
import { buildModel, type CheckpointTensor, type StateDict } from "@favor/checkpoints";
import { OnnxModel } from "@favor/onnx-tfjs";
import { maskedCrossEntropy, repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { setThreadsCount } from "@tensorflow/tfjs-backend-wasm";

const { values } = parseArgs({
  options: {
    steps: { type: "string", default: "5" },
    layers: { type: "string", default: "4" },
    hidden: { type: "string", default: "256" },
    length: { type: "string", default: "128" },
    batch: { type: "string", default: "4" },
    vocabulary: { type: "string", default: "30522" },
  },
});
const [steps, layers, hidden, length, batch, vocabulary] = (
  ["steps", "layers", "hidden", "length", "batch", "vocabulary"] as const
).map((name) => {
  const number = Number(values[name]);
  if (!Number.isInteger(number) || number < 1) {
    throw new Error(`--${name}: expected a whole number, found "${values[name]}"`);
  }
  return number;
}) as [number, number, number, number, number, number];

/** Heads of 64, as BERT's. */
const headDim = 64;
/** The unrepaired steps take long and grow no faster for being many. */
const mostUnrepaired = 3;

/** A BERT checkpoint with a masked language head, freshly initialised. */
function checkpoint(): StateDict {
  const wide = 4 * hidden;
  const tensors = new Map<string, CheckpointTensor>();
  const add = (name: string, dims: number[], numbers: Float32Array): void => {
    const range = memoryRange(new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength));
    tensors.set(name, { dataType: DataType.FLOAT, dims, range });
  };
  const matrix = (name: string, rows: number, columns: number): void => {
    const noise = tf.randomNormal([rows, columns], 0, 0.02, "float32", tensors.size + 1);
    add(`${name}.weight`, [rows, columns], noise.dataSync<"float32">().slice());
    noise.dispose();
  };
  const linear = (name: string, output: number, input: number): void => {
    matrix(name, output, input);
    add(`${name}.bias`, [output], new Float32Array(output));
  };
  const norm = (name: string): void => {
    add(`${name}.weight`, [hidden], new Float32Array(hidden).fill(1));
    add(`${name}.bias`, [hidden], new Float32Array(hidden));
  };
  matrix("bert.embeddings.word_embeddings", vocabulary, hidden);
  matrix("bert.embeddings.position_embeddings", length, hidden);
  matrix("bert.embeddings.token_type_embeddings", 2, hidden);
  norm("bert.embeddings.LayerNorm");
  for (let layer = 0; layer < layers; layer++) {
    const place = `bert.encoder.layer.${layer}`;
    for (const name of ["query", "key", "value"]) linear(`${place}.attention.self.${name}`, hidden, hidden);
    linear(`${place}.attention.output.dense`, hidden, hidden);
    norm(`${place}.attention.output.LayerNorm`);
    linear(`${place}.intermediate.dense`, wide, hidden);
    linear(`${place}.output.dense`, hidden, wide);
    norm(`${place}.output.LayerNorm`);
  }
  linear("cls.predictions.transform.dense", hidden, hidden);
  norm("cls.predictions.transform.LayerNorm");
  add("cls.predictions.bias", [vocabulary], new Float32Array(vocabulary));
  return tensors;
}

const config = {
  model_type: "bert",
  vocab_size: vocabulary,
  hidden_size: hidden,
  num_hidden_layers: layers,
  num_attention_heads: hidden / headDim,
  intermediate_size: 4 * hidden,
  max_position_embeddings: length,
};

/** Steps of Adam on one batch: processor time of the quickest, and what tfjs holds after the first and after the last. */
async function train(count: number, report: (step: number, loss: number) => void): Promise<Training> {
  const model = await OnnxModel.load(buildModel(config, checkpoint(), { task: "fill-mask" }).model);
  const dims = [batch, length];
  const tokens = Int32Array.from({ length: batch * length }, (_, i) => (i * 7919) % vocabulary);
  const feeds = {
    input_ids: { dims, data: tokens },
    attention_mask: { dims, data: new Int32Array(tokens.length).fill(1) },
    token_type_ids: { dims, data: new Int32Array(tokens.length) },
  };
  // every seventh token is to be predicted, the usual 15 %
  const labels = tf.tensor2d(
    tokens.map((token, i) => (i % 7 === 0 ? token : -1)),
    [batch, length],
  );
  const weights = [...new Set(model.variables().values())];
  const optimizer = tf.train.adam(1e-4);
  const taken = { milliseconds: Infinity, kept: tf.memory(), left: tf.memory() };
  for (let step = 0; step < count; step++) {
    const begun = process.cpuUsage();
    const loss = optimizer.minimize(() => maskedCrossEntropy(labels, model.run(feeds)["logits"]!), true, weights)!;
    const value = (await loss.data())[0]!;
    loss.dispose();
    const { user, system } = process.cpuUsage(begun);
    taken.milliseconds = Math.min(taken.milliseconds, (user + system) / 1000);
    taken.left = tf.memory();
    if (step === 0) taken.kept = taken.left;
    report(step, value);
  }
  model.dispose();
  optimizer.dispose();
  labels.dispose();
  return taken;
}

interface Training {
  readonly milliseconds: number;
  readonly kept: tf.MemoryInfo;
  readonly left: tf.MemoryInfo;
}

const shown = ({ numTensors, numBytes }: tf.MemoryInfo): string => `${numTensors} tensors, ${numBytes} bytes`;

tf.enableProdMode();
setThreadsCount(1);
await tf.setBackend("wasm");
const stock = tf.getKernelsForBackend("wasm");
const gradients = ["Tile", "Max"].map((name) => tf.getGradient(name));
repairBackend();

// tfjs as it is, less the one kernel without which no embedding trains at all
for (const kernel of stock) {
  tf.unregisterKernel(kernel.kernelName, "wasm");
  tf.registerKernel(kernel);
}
for (const gradient of gradients) {
  tf.unregisterGradient(gradient.kernelName);
  tf.registerGradient(gradient);
}
const before = await train(Math.min(steps, mostUnrepaired), () => {});
console.log(`as it is: ${before.milliseconds.toFixed(0)} ms of processor time a step`);

repairBackend();
const after = await train(steps, (step, loss) => {
  if (step !== 0 && (step + 1) % 50 !== 0 && step !== steps - 1) return;
  const rss = Math.round(process.memoryUsage.rss() / 1e6);
  console.log(`step ${step + 1}: loss ${loss.toFixed(3)}, ${shown(tf.memory())}, process ${rss} MB`);
});
const { kept, left } = after;
console.log(
  `repaired: ${after.milliseconds.toFixed(0)} ms, ${(before.milliseconds / after.milliseconds).toFixed(2)} x`,
);
if (kept.numTensors !== left.numTensors || kept.numBytes !== left.numBytes) {
  throw new Error(`Memory grew: ${shown(kept)} after the first step, ${shown(left)} after ${steps}.`);
}
