import type { ConvolutionStep } from "@favor/onnx/semantics";
import * as tf from "@tensorflow/tfjs-core";

/**
 * What a moving kernel sees: `[before, length, after]` to `[before, output, kernel, after]`, where entry (o, t) is
 * position o stride + t dilation. Only slices, reshapes and a concatenation, all of which have cheap gradients on every
 * backend; tfjs' strided slice has none.
 */
export function unfold(x: tf.Tensor3D, { kernel, stride, dilation, output }: ConvolutionStep): tf.Tensor4D {
  const [before, length, after] = x.shape;
  if (kernel === stride && dilation === 1) {
    const used = tf.slice(x, [0, 0, 0], [before, output * kernel, after]);
    return tf.reshape(used, [before, output, kernel, after]);
  }
  // Position o stride + p + q stride is row o + q, phase p.
  const rows = output + Math.floor(((kernel - 1) * dilation) / stride);
  const covered = rows * stride;
  const fitting =
    covered <= length
      ? tf.slice(x, [0, 0, 0], [before, covered, after])
      : tf.pad(x, [
          [0, 0],
          [0, covered - length],
          [0, 0],
        ]);
  const phases = tf.reshape(fitting, [before, rows, stride, after]);
  const taps = Array.from({ length: kernel }, (_, tap) => {
    const offset = tap * dilation;
    return tf.slice(phases, [0, Math.floor(offset / stride), offset % stride, 0], [before, output, 1, after]);
  });
  return tf.concat(taps, 2) as tf.Tensor4D;
}
