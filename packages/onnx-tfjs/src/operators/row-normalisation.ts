import * as tf from "@tensorflow/tfjs-core";

/** What a row is divided by: its standard deviation after its mean is taken off, or its root mean square. */
export type RowNorm = "deviation" | "rms";

/**
 * (x - mean) / sqrt(variance + epsilon) of each row of `x`, `[rows, length]` (1607.06450, eq. 4; without the mean
 * 1910.07467, eq. 4). The gradient is the closed form, a few kernels for a row of any length:
 * dx = inverse (dy - mean(dy) - y mean(dy y)).
 */
export function normalisedRows(x: tf.Tensor2D, epsilon: number, norm: RowNorm): tf.Tensor2D {
  const normalise = tf.customGrad((...parameters) => {
    const [rows, save] = parameters as [tf.Tensor2D, tf.GradSaveFunc];
    const { centred, inverse } = rowStatistics(rows, epsilon, norm);
    const value = tf.mul(centred, inverse);
    save([value, inverse]);
    return { value, gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => rowGradient(dy, saved[0]!, saved[1]!, norm) };
  });
  return normalise(x) as tf.Tensor2D;
}

/** What each row of {@link normalisedRows} was shifted and multiplied by. */
export interface RowStatistics {
  /** `[rows, 1]`; undefined for "rms". */
  readonly mean: tf.Tensor2D | undefined;
  /** x - mean, `[rows, length]` */
  readonly centred: tf.Tensor2D;
  /** 1 / sqrt(variance + epsilon), `[rows, 1]` */
  readonly inverse: tf.Tensor2D;
}

/** Mean and inverse deviation of each row of `x`, `[rows, length]`. */
export function rowStatistics(x: tf.Tensor2D, epsilon: number, norm: RowNorm): RowStatistics {
  const mean = norm === "rms" ? undefined : (tf.mean(x, 1, true) as tf.Tensor2D);
  const centred = mean === undefined ? x : (tf.sub(x, mean) as tf.Tensor2D);
  const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(centred), 1, true), epsilon)) as tf.Tensor2D;
  return { mean, centred, inverse };
}

function rowGradient(dy: tf.Tensor, y: tf.Tensor, inverse: tf.Tensor, norm: RowNorm): tf.Tensor {
  const along = tf.mul(y, tf.mean(tf.mul(dy, y), 1, true));
  const across = norm === "rms" ? dy : tf.sub(dy, tf.mean(dy, 1, true));
  return tf.mul(inverse, tf.sub(across, along));
}
