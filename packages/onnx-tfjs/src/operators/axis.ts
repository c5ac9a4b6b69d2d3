import * as tf from "@tensorflow/tfjs-core";

/** `source` as [before, axis, after]. On webgpu `pad`, which is also the gradient of `slice`, fails from five axes on. */
function around(source: tf.Tensor, axis: number): tf.Tensor3D {
  const dims = source.shape;
  const [before, after] = [dims.slice(0, axis), dims.slice(axis + 1)].map((part) => tf.util.sizeFromShape(part));
  return tf.reshape(source, [before!, dims[axis]!, after!]);
}

/** The shape of `source` with another length along `axis`. */
function withLength(source: tf.Tensor, axis: number, length: number): number[] {
  return source.shape.map((dim, i) => (i === axis ? length : dim));
}

/** The part of `source` along `axis` from `start`, of `length`. */
export function sliceAxis(source: tf.Tensor, axis: number, start: number, length: number): tf.Tensor {
  if (length === source.shape[axis]) return source;
  const view = around(source, axis);
  const part = tf.slice(view, [0, start, 0], [view.shape[0], length, view.shape[2]]);
  return tf.reshape(part, withLength(source, axis, length));
}

/** The slices of `source` along `axis`, without it. The gradient of `tf.unstack` fails for a single one. */
export function slicesAlong(source: tf.Tensor, axis: number): tf.Tensor[] {
  if (source.shape[axis] === 0) return [];
  return source.shape[axis] === 1 ? [tf.squeeze(source, [axis])] : tf.unstack(source, axis);
}

/** `source` with `before` and `after` times `value` added along `axis`. */
export function padAxis(source: tf.Tensor, axis: number, before: number, after: number, value: number): tf.Tensor {
  const padded = tf.pad3d(
    around(source, axis),
    [
      [0, 0],
      [before, after],
      [0, 0],
    ],
    value,
  );
  return tf.reshape(padded, withLength(source, axis, source.shape[axis]! + before + after));
}

/** `source` backwards along `axis`. */
export function reversedAxis(source: tf.Tensor, axis: number): tf.Tensor {
  return tf.reshape(tf.reverse3d(around(source, axis), 1), source.shape);
}

/** Every `step`-th of `source` along `axis`: padded to whole steps, of which the first is kept. */
export function strided(source: tf.Tensor, axis: number, step: number): tf.Tensor {
  if (step === 1) return source;
  const count = Math.ceil(source.shape[axis]! / step);
  const whole = around(padAxis(source, axis, 0, count * step - source.shape[axis]!, 0), axis);
  const [before, , after] = whole.shape;
  const first = tf.slice(tf.reshape(whole, [before * count, step, after]), [0, 0, 0], [before * count, 1, after]);
  return tf.reshape(first, withLength(source, axis, count));
}
