// Trains a causal Performer to copy and to recall, on wasm, from short sequences to long; then a Transformer with softmax.
// node demo.js          4,096 tokens, minutes
// node demo.js --quick  256 tokens, seconds
import { repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { version_wasm as wasm } from "@tensorflow/tfjs-backend-wasm";
import { randomIntegers } from "./task.js";
import { accuracy, createModel, favor, trainStep } from "./training.js";

const quick = process.argv.includes("--quick");
const longest = quick ? 256 : 4096;
/** Sequences grow: the model first learns what attends to what, among few tokens, and then to ignore all others. */
const lessons = [
  { length: 64, size: 8, steps: 140, learningRate: 0.02 },
  { length: 256, size: 2, steps: 80, learningRate: 0.02 },
  { length: 1024, size: 1, steps: 80, learningRate: 0.02 },
  { length: 4096, size: 1, steps: 160, learningRate: 0.01 },
];
const percent = (share) => `${(100 * share).toFixed(0).padStart(3)} %`;

/** Trains on the lessons up to `most` tokens, then tells how often the model is right at the longest. */
function train(name, attention, most) {
  const model = createModel(attention);
  const optimizer = tf.train.adam();
  const random = randomIntegers(1);
  for (const { length, size, steps, learningRate } of lessons) {
    if (length > most) break;
    optimizer.learningRate = learningRate;
    const begun = performance.now();
    let loss = 0;
    for (let step = 0; step < steps; step++) loss = trainStep(model, optimizer, length, size, random);
    const perStep = (performance.now() - begun) / steps;
    console.log(
      `${name}  ${steps} steps of ${size} x ${String(length).padStart(4)}  ` +
        `loss ${loss.toFixed(2)}  ${perStep.toFixed(0).padStart(4)} ms per step`,
    );
  }
  const { copied, recalled } = accuracy(model, longest, 8, randomIntegers(99));
  console.log(`${name}  at ${longest}: copied ${percent(copied)}, recalled ${percent(recalled)}`);
  optimizer.dispose();
  model.dispose();
}

/** One step on one sequence, by name of the attention; what stops it if it does not fit. */
function oneStep(name, attention, length) {
  let result;
  try {
    const model = createModel(attention);
    const begun = performance.now();
    trainStep(model, tf.train.adam(), length, 1, randomIntegers(1));
    result = `${(performance.now() - begun).toFixed(0)} ms`;
  } catch (error) {
    result = `does not fit (${String(error).split("\n")[0]})`;
  }
  console.log(`${name}  one step at ${length}: ${result}`);
}

tf.enableProdMode();
await tf.setBackend("wasm");
repairBackend();
console.log(`wasm backend ${wasm}`);
train("FAVOR  ", favor, longest);
// beyond 1,024 tokens a softmax step takes seconds
train("softmax", "exact", Math.min(longest, 1024));
if (!quick) {
  for (const length of [4096, 16384]) {
    oneStep("FAVOR  ", favor, length);
    oneStep("softmax", "exact", length);
  }
}
