// The model and its training loop, the same in the browser and in Node.
import { maskedCrossEntropy, maskedLMPresets, performerMaskedLM } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { hideResidues, randomNumbers, vocabularySize } from "./masking.js";

const [batchSize, learningRate] = [8, 3e-3];

/** A Performer of 0.1 million weights, not trained. */
export function createModel() {
  return performerMaskedLM({ ...maskedLMPresets.tiny, vocabularySize, maxLength: 160 });
}

/** Trains `model` for as many steps as are asked for; yields the loss of each in nats per hidden residue. */
export async function* train(model, sequences, steps) {
  const random = randomNumbers(1);
  const optimizer = tf.train.adam(learningRate);
  for (let step = 1; step <= steps; step++) {
    const batch = Array.from({ length: batchSize }, () => sequences[Math.floor(random() * sequences.length)]);
    const { tokens, labels } = hideResidues(batch, random);
    const loss = tf.tidy(() =>
      optimizer.minimize(() => {
        const logits = model.apply(tf.tensor2d(tokens), { training: true });
        return maskedCrossEntropy(tf.tensor2d(labels), logits);
      }, true),
    );
    yield { step, loss: (await loss.data())[0] };
    loss.dispose();
  }
  optimizer.dispose();
}

/** The loss over sequences that the model was not trained on, the same residues hidden at every call. */
export async function validate(model, sequences) {
  const { tokens, labels } = hideResidues(sequences, randomNumbers(2));
  const loss = tf.tidy(() => maskedCrossEntropy(tf.tensor2d(labels), model.apply(tf.tensor2d(tokens))));
  const [value] = await loss.data();
  loss.dispose();
  return value;
}
