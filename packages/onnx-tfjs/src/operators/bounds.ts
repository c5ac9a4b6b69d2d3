import { detached } from "@favor/tfjs/operations";
import * as tf from "@tensorflow/tfjs-core";
import { chosen, keptWhere } from "./choice.ts";

type Unary = (x: tf.Tensor) => tf.Tensor;

// tfjs 4.22 loses NaN on wasm: in ClipByValue, and in Maximum and Minimum if it is the second operand. On webgl, Relu
// turns -Infinity into NaN.

/** value(x), whose gradient is dy where `inside` holds and 0 elsewhere, whatever dy is there. */
function bounded(x: tf.Tensor, value: Unary, inside: Unary): tf.Tensor {
  const f = tf.customGrad((...parameters) => {
    const [at, save] = parameters as [tf.Tensor, tf.GradSaveFunc];
    save([at]);
    return {
      value: detached(() => value(at)),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => keptWhere(() => inside(saved[0]!), dy),
    };
  });
  return f(x);
}

/** tf.clipByValue, which gives a bound for NaN on wasm, and everywhere if its two bounds are equal. */
function clipped(x: tf.Tensor, low: number, high: number): tf.Tensor {
  const value = tf.clipByValue(x, low, high);
  return tf.getBackend() === "wasm" || low === high ? tf.where(tf.isNaN(x), x, value) : value;
}

/** max(x, bound) for each x, with gradient 1 at the bound. NaN stays NaN; if the bound is NaN, so is everything. */
export function atLeast(x: tf.Tensor, bound: number): tf.Tensor {
  if (Number.isNaN(bound)) return tf.mul(x, bound);
  return bounded(
    x,
    (at) => clipped(at, bound, Infinity),
    (at) => tf.greaterEqual(at, bound),
  );
}

/** min(x, bound) for each x, with gradient 1 at the bound. NaN stays NaN; if the bound is NaN, so is everything. */
export function atMost(x: tf.Tensor, bound: number): tf.Tensor {
  if (Number.isNaN(bound)) return tf.mul(x, bound);
  return bounded(
    x,
    (at) => clipped(at, -Infinity, bound),
    (at) => tf.lessEqual(at, bound),
  );
}

/** max(x, 0) */
export function relu(x: tf.Tensor): tf.Tensor {
  return tf.getBackend() === "webgl" ? atLeast(x, 0) : tf.relu(x);
}

/** min(x, 0) */
export function negativePart(x: tf.Tensor): tf.Tensor {
  return tf.neg(relu(tf.neg(x)));
}

/** `extreme`, tf.maximum or tf.minimum, of two tensors of one shape: NaN where either is. */
export function extremeOf(extreme: typeof tf.maximum, a: tf.Tensor, b: tf.Tensor): tf.Tensor {
  const value = extreme(a, b);
  if (tf.getBackend() !== "wasm") return value;
  const isMissed = detached(() => tf.isNaN(b));
  return chosen(isMissed, b, value, value.shape);
}
