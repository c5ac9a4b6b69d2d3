import { convolutionSteps, type ConvolutionStep } from "@favor/onnx/semantics";
import * as tf from "@tensorflow/tfjs-core";
import { shown, type OperatorCall, type OperatorTable } from "../operator-call.ts";
import type { Value } from "../value.ts";
import { unfold } from "./unfold.ts";

/**
 * The patches under the kernel: `[images, channels, ...spatial]` to `[images, positions, channels x taps]`, both in
 * row-major order. One dimension after the other, so that no tensor has more than six.
 */
function patches(source: tf.Tensor, steps: readonly ConvolutionStep[]): tf.Tensor3D {
  const [images, channels, ...spatial] = source.shape as [number, number, ...number[]];
  let positions = 1;
  let columns = channels;
  let seen = tf.reshape(source, [images, 1, channels, -1]);
  for (const [i, step] of steps.entries()) {
    const rest = tf.util.sizeFromShape(spatial.slice(i + 1));
    const taps = unfold(tf.reshape(seen, [images * positions * columns, spatial[i]!, rest]), step);
    const split = tf.reshape(taps, [images, positions, columns, step.output, step.kernel, rest]);
    const sorted = tf.transpose(split, [0, 1, 3, 2, 4, 5]);
    positions *= step.output;
    columns *= step.kernel;
    seen = tf.reshape(sorted, [images, positions, columns, rest]);
  }
  return tf.reshape(seen, [images, positions, columns]);
}

/**
 * Convolution (cross-correlation) of [N, C, ...] with [M, C / group, ...], any number of spatial dimensions: patches
 * times weights, because that of tfjs has no groups, no gradient with dilations, and none at all for its filter on wasm.
 */
const conv = (call: OperatorCall): Value[] => {
  const [source, weight, bias] = [call.device(0), call.device(1), call.optionalDevice(2)];
  const group = call.int("group", 1);
  const [batch = 0, channels = 0, ...spatial] = source.shape;
  const [filters = 0, perGroup = 0, ...kernel] = weight.shape;
  if (perGroup * group !== channels || filters % group !== 0) {
    call.fail(`a weight of shape ${shown(weight.shape)} in ${group} groups does not fit ${shown(source.shape)}`);
  }
  const steps = convolutionSteps(call, spatial, kernel);
  if (steps.some((step) => step.output < 1)) {
    call.fail(`its kernel ${shown(kernel)} is larger than the padded input ${shown(spatial)}`);
  }
  const padding = steps.map(({ before, after }): [number, number] => [before, after]);
  const none: [number, number] = [0, 0];
  const isPadded = padding.some(([before, after]) => before > 0 || after > 0);
  const padded = isPadded ? tf.pad(source, [none, none, ...padding]) : source;
  const space = padded.shape.slice(2);
  // Groups first, so that each has its product with its own filters.
  const grouped =
    group === 1
      ? padded
      : tf.transpose(tf.reshape(padded, [batch, group, perGroup, tf.util.sizeFromShape(space)]), [1, 0, 2, 3]);
  const seen = patches(tf.reshape(grouped, [group * batch, perGroup, ...space]), steps);
  const [, positions, columns] = seen.shape;
  const product = tf.matMul(
    tf.reshape(seen, [group, batch * positions, columns]),
    tf.reshape(weight, [group, filters / group, columns]),
    false,
    true,
  );
  const perImage = tf.reshape(product, [group, batch, positions, filters / group]);
  const output = steps.map((step) => step.output);
  const result = tf.reshape(tf.transpose(perImage, [1, 0, 3, 2]), [batch, filters, ...output]);
  return [bias === null ? result : tf.add(result, tf.reshape(bias, [filters, ...output.map(() => 1)]))];
};

/** One value for each channel of [N, C, ...]. */
const globalPool =
  (pool: (rows: tf.Tensor) => tf.Tensor) =>
  (call: OperatorCall): Value[] => {
    const source = call.device(0);
    const [batch = 0, channels = 0, ...spatial] = source.shape;
    const rows = tf.reshape(source, [batch * channels, tf.util.sizeFromShape(spatial)]);
    return [tf.reshape(pool(rows), [batch, channels, ...spatial.map(() => 1)])];
  };

/** Convolution and global pooling. */
export const convolutionOperators: OperatorTable = {
  Conv: conv,
  GlobalAveragePool: globalPool((rows) => tf.mean(rows, 1)),
  GlobalMaxPool: globalPool((rows) => tf.max(rows, 1)),
};
