import * as tf from "@tensorflow/tfjs-core";

/** x Phi(x) with the error function (1606.08415), differentiated in closed form: Phi(x) + x phi(x). */
export function gelu(x: tf.Tensor): tf.Tensor {
  const activate = tf.customGrad((...parameters) => {
    const [source, save] = parameters as [tf.Tensor, tf.GradSaveFunc];
    const cumulative = tf.mul(tf.add(tf.erf(tf.mul(source, Math.SQRT1_2)), 1), 0.5);
    save([source, cumulative]);
    return {
      value: tf.mul(source, cumulative),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [at, probability] = saved as [tf.Tensor, tf.Tensor];
        const density = tf.mul(tf.exp(tf.mul(tf.square(at), -0.5)), 1 / Math.sqrt(2 * Math.PI));
        return tf.mul(dy, tf.add(probability, tf.mul(at, density)));
      },
    };
  });
  return activate(x);
}

const cubic = 0.044715;
const rootTwoOverPi = Math.sqrt(2 / Math.PI);

/** x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, differentiated in closed form. */
export function geluTanh(x: tf.Tensor): tf.Tensor {
  const activate = tf.customGrad((...parameters) => {
    const [source, save] = parameters as [tf.Tensor, tf.GradSaveFunc];
    const inner = tf.mul(source, tf.mul(tf.add(tf.mul(tf.square(source), cubic), 1), rootTwoOverPi));
    const half = tf.mul(tf.add(tf.tanh(inner), 1), 0.5);
    save([source, half]);
    return {
      value: tf.mul(source, half),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [at, share] = saved as [tf.Tensor, tf.Tensor];
        // With s = (1 + tanh u) / 2: s' = 2 s (1 - s) u'.
        const slope = tf.mul(tf.add(tf.mul(tf.square(at), 3 * cubic), 1), rootTwoOverPi);
        const change = tf.mul(tf.mul(share, tf.sub(1, share)), tf.mul(slope, 2));
        return tf.mul(dy, tf.add(share, tf.mul(at, change)));
      },
    };
  });
  return activate(x);
}

/** x sigmoid(alpha x) */
export function quickGelu(x: tf.Tensor, alpha: number): tf.Tensor {
  return tf.mul(x, tf.sigmoid(tf.mul(x, alpha)));
}
