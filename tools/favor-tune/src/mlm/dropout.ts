import * as tf from "@tensorflow/tfjs";

/**
 * Dropout as an interception of values, seeded: the same values are dropped in the same step of every run.
 *
 * @param values - names of the values, one interception each.
 * @param rate - share of the elements that become 0; the others are divided by 1 - rate.
 * @param seed - of this step.
 */
export function dropoutAt(
  values: readonly string[],
  rate: number,
  seed: number,
): Record<string, (value: tf.Tensor) => tf.Tensor> {
  if (rate === 0) return {};
  return Object.fromEntries(
    values.map((name, i) => [
      name,
      // Neighbouring seeds give tfjs unrelated streams: it hashes them.
      (value: tf.Tensor) => tf.dropout(value, rate, undefined, `${seed}/${i}`),
    ]),
  );
}
