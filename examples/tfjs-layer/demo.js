// Adds one FAVOR layer to an existing TensorFlow.js model: a classifier that pools over embeddings cannot tell the order of
// two tokens; with one attention layer, trained for a few seconds, it can.
import { PerformerEncoderLayer, repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { version_wasm as wasm } from "@tensorflow/tfjs-backend-wasm";

const [vocabulary, length, width] = [8, 12, 16];

/** Sequences of noise with one 1 and one 2; the class is which of the two comes first. */
function examples(count, seed) {
  const tokens = [];
  const labels = [];
  let state = seed;
  const random = (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  for (let i = 0; i < count; i++) {
    const row = Array.from({ length }, () => 3 + random(vocabulary - 3));
    const first = random(length - 1);
    const second = first + 1 + random(length - first - 1);
    const label = random(2);
    [row[first], row[second]] = label === 0 ? [1, 2] : [2, 1];
    tokens.push(row);
    labels.push(label);
  }
  return { x: tf.tensor2d(tokens), y: tf.tensor1d(labels, "float32") };
}

/** The model as it was: embeddings, an average over the sequence, a decision. `layers` go between. */
function classifier(layers) {
  const seeded = tf.initializers.randomNormal({ stddev: 0.5, seed: 3 });
  const model = tf.sequential();
  model.add(
    tf.layers.embedding({ inputDim: vocabulary, outputDim: width, inputLength: length, embeddingsInitializer: seeded }),
  );
  for (const layer of layers) model.add(layer);
  model.add(tf.layers.globalAveragePooling1d());
  model.add(tf.layers.dense({ units: 1, activation: "sigmoid" }));
  model.compile({ optimizer: tf.train.adam(0.01), loss: "binaryCrossentropy", metrics: ["accuracy"] });
  return model;
}

tf.enableProdMode();
await tf.setBackend("wasm");
repairBackend();
console.log(`wasm backend ${wasm}`);

const featureMap = {
  version: 1,
  kind: "positive",
  projection: { kind: "orthogonal", count: 32, dim: 8, seed: 1 },
};
const training = examples(1024, 1);
const validation = examples(256, 2);
// causal: a token sees what came before it, which is all that order is
const attention = new PerformerEncoderLayer({
  modelDim: width,
  numHeads: 2,
  feedForwardDim: 32,
  useCausalMask: true,
  attention: featureMap,
});
for (const [name, layers] of Object.entries({ "as it was": [], "one FAVOR layer": [attention] })) {
  const model = classifier(layers);
  await model.fit(training.x, training.y, { epochs: 8, batchSize: 64, verbose: 0 });
  const [, accuracy] = model.evaluate(validation.x, validation.y);
  console.log(`${name.padEnd(16)} accuracy ${accuracy.dataSync()[0].toFixed(2)}`);
}
