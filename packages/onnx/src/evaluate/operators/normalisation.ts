import { DataType } from "../../model/proto.ts";
import { broadcastDims } from "../../semantics/shapes.ts";
import { shown, type OperatorCall, type OperatorTable } from "../call.ts";
import { axisView, broadcastPositions, computed } from "../positions.ts";
import { elementCount, type Tensor } from "../tensor.ts";
import { reshaped } from "./shape.ts";

/** Each row of `length` consecutive elements minus its mean (unless `rms`), divided by its deviation. */
interface NormalisedRows {
  readonly values: Float64Array;
  readonly means: Float64Array;
  readonly inverseDeviations: Float64Array;
}

function normaliseRows(
  call: OperatorCall,
  source: Tensor,
  length: number,
  epsilon: number,
  rms: boolean = false,
): NormalisedRows {
  const rows = length === 0 ? 0 : source.data.length / length;
  call.operations(3 * source.data.length);
  const values = new Float64Array(source.data.length);
  const means = new Float64Array(rows);
  const inverseDeviations = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    const start = row * length;
    let sum = 0;
    for (let i = 0; i < length; i++) sum += source.data[start + i]!;
    const mean = rms ? 0 : sum / length;
    let squares = 0;
    for (let i = 0; i < length; i++) squares += (source.data[start + i]! - mean) ** 2;
    const inverse = 1 / Math.sqrt(squares / length + epsilon);
    for (let i = 0; i < length; i++) values[start + i] = (source.data[start + i]! - mean) * inverse;
    means[row] = mean;
    inverseDeviations[row] = inverse;
  }
  return { values, means, inverseDeviations };
}

/** values * scale + bias; the two broadcast to `source`'s shape. */
function scaleAndShift(
  call: OperatorCall,
  source: Tensor,
  values: Float64Array,
  scale: Tensor,
  bias: Tensor | null,
): Tensor {
  const { dims } = source;
  for (const parameter of bias === null ? [scale] : [scale, bias]) {
    if (broadcastDims(call, dims, parameter.dims).join() !== dims.join()) {
      call.fail(`a parameter of shape ${shown(parameter.dims)} does not broadcast to ${shown(dims)}`);
    }
  }
  const data = call.data(dims, source.dataType);
  const scaleAt = broadcastPositions(scale.dims, dims);
  const biasAt = bias === null ? null : broadcastPositions(bias.dims, dims);
  for (let i = 0; i < data.length; i++) {
    const shift = bias === null ? 0 : bias.data[biasAt === null ? i : biasAt[i]!]!;
    data[i] = values[i]! * scale.data[scaleAt === null ? i : scaleAt[i]!]! + shift;
  }
  return computed(dims, source.dataType, data);
}

/**
 * LayerNormalization over the dimensions from `axis` (not negative) on, with its optional outputs: the mean and the
 * inverse deviation of each row, float32.
 */
export function layerNormalised(
  call: OperatorCall,
  source: Tensor,
  scale: Tensor,
  bias: Tensor | null,
  axis: number,
  epsilon: number,
  rms: boolean = false,
): Tensor[] {
  call.requireFloat(source);
  const length = elementCount(source.dims.slice(axis));
  const { values, means, inverseDeviations } = normaliseRows(call, source, length, epsilon, rms);
  const dims = source.dims.map((dim, i) => (i < axis ? dim : 1));
  const statistics = (of: Float64Array): Tensor => {
    const data = call.data(dims, DataType.FLOAT);
    data.set(of);
    return { dims, dataType: DataType.FLOAT, data };
  };
  const result = [scaleAndShift(call, source, values, scale, bias)];
  return rms
    ? [...result, statistics(inverseDeviations)]
    : [...result, statistics(means), statistics(inverseDeviations)];
}

const layerNormalization =
  (rms: boolean) =>
  (call: OperatorCall): Tensor[] => {
    const source = call.input(0);
    const axis = call.axis(call.int("axis", -1), source.dims.length);
    return layerNormalised(call, source, call.input(1), call.optional(2), axis, call.float("epsilon", 1e-5), rms);
  };

/** A parameter [C] (or [G]) as [C, 1, ...], so that it broadcasts to [N, C, ...]. */
function perChannel(call: OperatorCall, parameter: Tensor, rank: number): Tensor {
  return reshaped(call, parameter, [parameter.data.length, ...Array.from({ length: Math.max(0, rank - 2) }, () => 1)]);
}

const instanceNormalization = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const { values } = normaliseRows(call, source, elementCount(source.dims.slice(2)), call.float("epsilon", 1e-5));
  const rank = source.dims.length;
  return [
    scaleAndShift(call, source, values, perChannel(call, call.input(1), rank), perChannel(call, call.input(2), rank)),
  ];
};

/** Scale and bias are per group in opset 18, per channel since 21. */
const groupNormalization = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const groups = call.int("num_groups") ?? call.fail("num_groups is required");
  const channels = source.dims[1] ?? call.fail("its input needs channels");
  const perGroup = channels / groups;
  if (!Number.isInteger(perGroup)) call.fail(`${channels} channels do not divide into ${groups} groups`);
  const length = perGroup * elementCount(source.dims.slice(2));
  const { values } = normaliseRows(call, source, length, call.float("epsilon", 1e-5));
  const parameter = (index: number) => {
    const given = call.input(index);
    const repeats = channels / given.data.length;
    const data = call.data([channels], given.dataType);
    for (let i = 0; i < channels; i++) data[i] = given.data[Math.floor(i / repeats)]!;
    return perChannel(call, { dims: [channels], dataType: given.dataType, data }, source.dims.length);
  };
  return [scaleAndShift(call, source, values, parameter(1), parameter(2))];
};

/** (x - mean) / sqrt(variance + epsilon) * scale + bias, with the stored statistics. */
const batchNormalization = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  if (call.int("training_mode", 0) !== 0) throw call.unsupported("training mode is not evaluated");
  const [scale, bias, mean, variance] = [call.input(1), call.input(2), call.input(3), call.input(4)];
  const epsilon = call.float("epsilon", 1e-5);
  const { length, inner } = axisView(source.dims, Math.min(1, source.dims.length - 1));
  const data = call.data(source.dims, source.dataType);
  for (let i = 0; i < data.length; i++) {
    const channel = Math.floor(i / inner) % length;
    const deviation = Math.sqrt(variance.data[channel]! + epsilon);
    data[i] = ((source.data[i]! - mean.data[channel]!) / deviation) * scale.data[channel]! + bias.data[channel]!;
  }
  return [computed(source.dims, source.dataType, data)];
};

/** x / ||x|| along an axis, in the 1- or 2-norm; rows of zeros stay. */
const lpNormalization = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const p = call.int("p", 2);
  const { length, inner } = axisView(source.dims, call.axis(call.int("axis", -1), source.dims.length));
  const row = (i: number) => Math.floor(i / (length * inner)) * inner + (i % inner);
  const norms = new Float64Array(source.data.length / Math.max(1, length));
  const data = call.data(source.dims, source.dataType);
  for (let i = 0; i < data.length; i++) norms[row(i)]! += Math.abs(source.data[i]!) ** p;
  for (let i = 0; i < data.length; i++) {
    const norm = norms[row(i)]! ** (1 / p);
    data[i] = norm === 0 ? 0 : source.data[i]! / norm;
  }
  return [computed(source.dims, source.dataType, data)];
};

/** Normalisations of the standard domain; SimplifiedLayerNormalization is onnxruntime's name for RMSNormalization. */
export const normalisationOperators: OperatorTable = {
  LayerNormalization: layerNormalization(false),
  RMSNormalization: layerNormalization(true),
  SimplifiedLayerNormalization: layerNormalization(true),
  InstanceNormalization: instanceNormalization,
  GroupNormalization: groupNormalization,
  BatchNormalization: batchNormalization,
  LpNormalization: lpNormalization,
};
