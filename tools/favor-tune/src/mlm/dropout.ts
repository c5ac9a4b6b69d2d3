import * as tf from "@tensorflow/tfjs";

/**
 * Seeded dropout, as interceptions of values. Every run drops the same elements in the same step.
 *
 * @param values - names of the values to intercept.
 * @param rate - share of the elements that become 0; the others are divided by 1 - rate.
 * @param seed - seed of this step.
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
      // tfjs hashes seeds, so neighbouring ones give unrelated streams.
      (value: tf.Tensor) => tf.dropout(value, rate, undefined, `${seed}/${i}`),
    ]),
  );
}
