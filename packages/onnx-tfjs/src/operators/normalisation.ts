import { detached } from "@favor/tfjs/operations";
import { broadcastDims } from "@favor/onnx/semantics";
import * as tf from "@tensorflow/tfjs-core";
import { shown, type OperatorCall, type OperatorTable } from "../operator-call.ts";
import type { Value } from "../value.ts";
import { normalisedRows, rowStatistics, type RowNorm } from "./row-normalisation.ts";

/** `values` scale + bias; the two broadcast to `values`. */
function scaledAndShifted(call: OperatorCall, values: tf.Tensor, scale: tf.Tensor, bias: tf.Tensor | null): tf.Tensor {
  for (const parameter of bias === null ? [scale] : [scale, bias]) {
    if (!tf.util.arraysEqual(broadcastDims(call, values.shape, parameter.shape), values.shape)) {
      call.fail(`a parameter of shape ${shown(parameter.shape)} does not broadcast to ${shown(values.shape)}`);
    }
  }
  const scaled = tf.mul(values, scale);
  return bias === null ? scaled : tf.add(scaled, bias);
}

/** `source` seen as rows: the dimensions before `axis`, and the rest. */
function asRows(source: tf.Tensor, axis: number): tf.Tensor2D {
  const length = tf.util.sizeFromShape(source.shape.slice(axis));
  return tf.reshape(source, [tf.util.sizeFromShape(source.shape.slice(0, axis)), length]);
}

export interface LayerNormParts {
  readonly source: tf.Tensor;
  readonly scale: tf.Tensor;
  readonly bias: tf.Tensor | null;
  /** Not negative: rows are the dimensions from here on. */
  readonly axis: number;
  readonly epsilon: number;
  readonly norm: RowNorm;
}

/** LayerNormalization (or its form by the root mean square) over the dimensions from `axis` on. */
export function layerNormalised(call: OperatorCall, parts: LayerNormParts): tf.Tensor {
  const { source, scale, bias, axis, epsilon, norm } = parts;
  const values = tf.reshape(normalisedRows(asRows(source, axis), epsilon, norm), source.shape);
  return scaledAndShifted(call, values, scale, bias);
}

/** The optional outputs of layer normalisation, for each row: its mean (not for "rms") and inverse deviation. */
export function layerStatistics({ source, axis, epsilon, norm }: LayerNormParts): tf.Tensor[] {
  const { mean, inverse } = detached(() => ({ ...rowStatistics(asRows(source, axis), epsilon, norm) }));
  const dims = source.shape.map((dim, i) => (i < axis ? dim : 1));
  return (mean === undefined ? [inverse] : [mean, inverse]).map((values) => tf.reshape(values, dims));
}

const layerNormalization =
  (norm: RowNorm) =>
  (call: OperatorCall): Value[] => {
    const source = call.device(0);
    const parts: LayerNormParts = {
      source,
      scale: call.device(1),
      bias: call.optionalDevice(2),
      axis: call.axis(call.int("axis", -1), source.rank),
      epsilon: call.float("epsilon", 1e-5),
      norm,
    };
    const statistics = call.wants(1) || call.wants(2) ? layerStatistics(parts) : [];
    return [layerNormalised(call, parts), ...statistics];
  };

/** A parameter [C] as [C, 1, ...], so that it broadcasts to [N, C, ...]. */
function perChannel(parameter: tf.Tensor, rank: number): tf.Tensor {
  return tf.reshape(parameter, [parameter.size, ...Array<number>(Math.max(0, rank - 2)).fill(1)]);
}

const instanceNormalization = (call: OperatorCall): Value[] => {
  const source = call.device(0);
  const [scale, bias] = [perChannel(call.device(1), source.rank), perChannel(call.device(2), source.rank)];
  const parts = { source, scale, bias, axis: 2, epsilon: call.float("epsilon", 1e-5), norm: "deviation" as const };
  return [layerNormalised(call, parts)];
};

/** Scale and bias are per group in opset 18, per channel since 21. */
const groupNormalization = (call: OperatorCall): Value[] => {
  const source = call.device(0);
  const groups = call.int("num_groups") ?? call.fail("num_groups is required");
  const channels = source.shape[1] ?? call.fail("its input needs channels");
  if (!Number.isInteger(channels / groups)) call.fail(`${channels} channels do not divide into ${groups} groups`);
  const parameter = (index: number): tf.Tensor => {
    const given = call.device(index);
    const repeats = channels / given.size;
    const own = repeats === 1 ? given : tf.mul(tf.reshape(given, [-1, 1]), tf.ones([1, repeats]));
    return perChannel(tf.reshape(own, [channels]), source.rank);
  };
  const length = source.size / (source.shape[0]! * groups);
  const rows = tf.reshape(source, [source.shape[0]! * groups, length]) as tf.Tensor2D;
  const values = tf.reshape(normalisedRows(rows, call.float("epsilon", 1e-5), "deviation"), source.shape);
  return [scaledAndShifted(call, values, parameter(1), parameter(2))];
};

/** (x - mean) / sqrt(variance + epsilon) * scale + bias, with the stored statistics. */
const batchNormalization = (call: OperatorCall): Value[] => {
  if (call.int("training_mode", 0) !== 0) throw call.unsupported("batch statistics (training_mode) do not run");
  const source = call.device(0);
  const parameter = (index: number): tf.Tensor => perChannel(call.device(index), source.rank);
  const inverse = tf.rsqrt(tf.add(parameter(4), call.float("epsilon", 1e-5)));
  const factor = tf.mul(parameter(1), inverse);
  return [tf.add(tf.mul(tf.sub(source, parameter(3)), factor), parameter(2))];
};

/** x / ||x|| along an axis, in the 1- or 2-norm; rows of zeros stay. */
const lpNormalization = (call: OperatorCall): Value[] => {
  const source = call.device(0);
  const axis = call.axis(call.int("axis", -1), source.rank);
  const powers = call.int("p", 2) === 1 ? tf.abs(source) : tf.square(source);
  const total = tf.sum(powers, axis, true);
  const isZero = detached(() => tf.cast(tf.equal(total, 0), "float32"));
  const safe = tf.add(total, isZero);
  return [tf.div(source, call.int("p", 2) === 1 ? safe : tf.sqrt(safe))];
};

/** Which axes softmax runs over: since opset 13 one; before all from `axis` (default 1) on, flattened. */
function softmaxRows(call: OperatorCall, source: tf.Tensor, along: (rows: tf.Tensor) => tf.Tensor): tf.Tensor {
  const flattens = call.opset < 13;
  const axis = call.axis(call.int("axis", flattens ? 1 : -1), source.rank, flattens);
  if (flattens) return tf.reshape(along(asRows(source, axis)), source.shape);
  if (source.rank === 0) return tf.reshape(along(tf.reshape(source, [1])), []);
  if (axis === source.rank - 1) return along(source);
  const exchanged = Array.from({ length: source.rank }, (_, i) =>
    i === axis ? source.rank - 1 : i === source.rank - 1 ? axis : i,
  );
  return tf.transpose(along(tf.transpose(source, exchanged)), exchanged);
}

const softmax = (call: OperatorCall): Value[] => [softmaxRows(call, call.device(0), (rows) => tf.softmax(rows))];
const logSoftmax = (call: OperatorCall): Value[] => [softmaxRows(call, call.device(0), (rows) => tf.logSoftmax(rows))];

/** 1 at the first largest element, 0 elsewhere; without gradient. */
const hardmax = (call: OperatorCall): Value[] => [
  detached(() =>
    softmaxRows(call, call.device(0), (rows) => tf.cast(tf.oneHot(tf.argMax(rows, -1), rows.shape.at(-1)!), "float32")),
  ),
];

/** Normalisations; SimplifiedLayerNormalization is onnxruntime's name for RMSNormalization. */
export const normalisationOperators: OperatorTable = {
  LayerNormalization: layerNormalization("deviation"),
  RMSNormalization: layerNormalization("rms"),
  SimplifiedLayerNormalization: layerNormalization("rms"),
  InstanceNormalization: instanceNormalization,
  GroupNormalization: groupNormalization,
  BatchNormalization: batchNormalization,
  LpNormalization: lpNormalization,
  Softmax: softmax,
  LogSoftmax: logSoftmax,
  Hardmax: hardmax,
};
