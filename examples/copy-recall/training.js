// The model, a training step, and how often it is right.
import { FavorAttention, maskedCrossEntropy } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { count, sequence, vocabularySize } from "./task.js";

const [width, features] = [32, 128];

/** FAVOR with ReLU features (2006.03555, section 2.2). */
export const favor = {
  version: 1,
  kind: "generalized",
  function: "relu",
  projection: { kind: "orthogonal", count: features, dim: width, seed: 1 },
};

function embedding(seed) {
  const embeddingsInitializer = tf.initializers.randomNormal({ mean: 0, stddev: 1, seed });
  return tf.layers.embedding({ inputDim: vocabularySize, outputDim: width, embeddingsInitializer });
}

/**
 * A causal model of one layer, for sequences of any length. A token asks for the places that came after it before: its
 * embedding is the query, that of the token before a place is the key, what stands there is the value.
 *
 * @param attention A feature map for a Performer, or "exact" for a Transformer.
 */
export function createModel(attention) {
  const [tokens, before] = [tf.input({ shape: [null] }), tf.input({ shape: [null] })];
  const place = embedding(1);
  const content = embedding(2).apply(tokens);
  const found = new FavorAttention({ attention, useCausalMask: true }).apply([
    place.apply(tokens),
    content,
    place.apply(before),
  ]);
  const kernelInitializer = tf.initializers.glorotUniform({ seed: 3 });
  const logits = tf.layers.dense({ units: vocabularySize, kernelInitializer });
  return tf.model({
    inputs: [tokens, before],
    outputs: logits.apply(tf.layers.concatenate().apply([content, found])),
  });
}

function batch(length, size, random) {
  const sequences = Array.from({ length: size }, () => sequence(length, random));
  const [tokens, before, labels] = ["tokens", "before", "labels"].map((name) =>
    tf.tensor2d(sequences.map((each) => each[name])),
  );
  return { inputs: [tokens, before], labels };
}

/** One step on new sequences; the loss in nats per answer. */
export function trainStep(model, optimizer, length, size, random) {
  const loss = tf.tidy(() => {
    const { inputs, labels } = batch(length, size, random);
    return optimizer.minimize(() => maskedCrossEntropy(labels, model.apply(inputs, { training: true })), true);
  });
  const [value] = loss.dataSync();
  loss.dispose();
  return value;
}

/** The share of answers that the model predicts, of copying and of recalling, in `size` sequences it has not seen. */
export function accuracy(model, length, size, random) {
  const right = { copied: 0, recalled: 0 };
  for (let i = 0; i < size; i++) {
    tf.tidy(() => {
      const { inputs, labels } = batch(length, 1, random);
      const predicted = tf.argMax(model.predict(inputs), 2).dataSync();
      let answers = 0;
      for (const [at, label] of labels.dataSync().entries()) {
        if (label < 0) continue;
        // in the order of the task
        const kind = answers++ < count ? "copied" : "recalled";
        if (predicted[at] === label) right[kind]++;
      }
    });
  }
  return { copied: right.copied / (count * size), recalled: right.recalled / (count * size) };
}
