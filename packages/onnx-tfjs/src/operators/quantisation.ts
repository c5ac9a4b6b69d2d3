import { detached } from "@favor/tfjs/operations";
import { DataType } from "@favor/onnx";
import * as tf from "@tensorflow/tfjs-core";
import { shown, type OperatorCall, type OperatorTable } from "../operator-call.ts";
import { isDevice, type Value } from "../value.ts";
import { definedProduct } from "./defined-product.ts";

/** Smallest and largest value of the integer types that run here; the host quantises to others. */
const ranges: ReadonlyMap<number, readonly [number, number]> = new Map([
  [DataType.UINT8, [0, 255]],
  [DataType.INT8, [-128, 127]],
  [DataType.UINT16, [0, 65_535]],
  [DataType.INT16, [-32_768, 32_767]],
  [DataType.UINT4, [0, 15]],
  [DataType.INT4, [-8, 7]],
]);

/**
 * A scale or zero point, broadcast to the source: one for all, one for each index along `axis`, or (opset 21) one for
 * each block of `block_size` along it.
 */
function spread(call: OperatorCall, parameter: tf.Tensor, dims: readonly number[]): tf.Tensor {
  if (parameter.size === 1) return tf.reshape(parameter, []);
  const axis = call.axis(call.int("axis", 1), dims.length);
  const length = dims[axis] ?? 1;
  const blockSize = call.int("block_size", 0);
  if (blockSize === 0) {
    if (parameter.size !== length) call.fail(`scale ${shown(parameter.shape)} does not fit ${shown(dims)}`);
    return tf.reshape(parameter, [length, ...dims.slice(axis + 1).map(() => 1)]);
  }
  const blocks = parameter.shape[axis];
  if (blocks !== Math.ceil(length / blockSize))
    call.fail(`scale ${shown(parameter.shape)} does not fit ${shown(dims)}`);
  const outer = tf.util.sizeFromShape(dims.slice(0, axis));
  const inner = tf.util.sizeFromShape(dims.slice(axis + 1));
  const repeated = tf.mul(tf.reshape(parameter, [outer * blocks, 1, inner]), tf.ones([1, blockSize, 1]));
  const whole = tf.reshape(repeated, [outer, blocks * blockSize, inner]);
  return tf.reshape(tf.slice(whole, [0, 0, 0], [outer, length, inner]), [...dims]);
}

const asFloat = (x: tf.Tensor): tf.Tensor => tf.cast(x, "float32");

/** round(x / scale) + zero_point, halves to even, clamped to the zero point's type; as int32, without gradient. */
const quantizeLinear = (call: OperatorCall): Value[] => {
  const zeroPoint = call.optional(2);
  const requested = call.int("output_dtype", 0) || DataType.UINT8;
  const dataType = zeroPoint === null || isDevice(zeroPoint) ? requested : zeroPoint.dataType;
  const range = ranges.get(dataType);
  if (range === undefined) return call.evaluateOnHost();
  return [
    detached(() => {
      const source = call.device(0);
      const rounded = tf.round(tf.div(source, spread(call, call.device(1), source.shape)));
      const zero = call.optionalDevice(2);
      const shifted = zero === null ? rounded : tf.add(rounded, spread(call, asFloat(zero), source.shape));
      return tf.cast(tf.clipByValue(shifted, ...range), "int32");
    }),
  ];
};

/** (x - zero_point) scale; differentiable for the scale. */
const dequantizeLinear = (call: OperatorCall): Value[] => {
  const source = call.device(0);
  const zero = call.optionalDevice(2);
  const steps = detached(() => {
    const codes = asFloat(source);
    return zero === null ? codes : tf.sub(codes, spread(call, asFloat(zero), source.shape));
  });
  return [tf.mul(steps, spread(call, call.device(1), source.shape))];
};

/** uint8 with a scale from the range of the input, 0 included: codes, scale, zero point. Without gradient. */
const dynamicQuantizeLinear = (call: OperatorCall): Value[] => {
  const source = call.device(0);
  return detached(() => {
    const low = tf.minimum(tf.min(source), 0);
    const range = tf.sub(tf.maximum(tf.max(source), 0), low);
    const scale = tf.where(tf.equal(range, 0), tf.onesLike(range), tf.div(range, 255));
    const zero = tf.clipByValue(tf.round(tf.div(tf.neg(low), scale)), 0, 255);
    const codes = tf.clipByValue(tf.add(tf.round(tf.div(source, scale)), zero), 0, 255);
    return [tf.cast(codes, "int32"), scale, tf.cast(zero, "int32")];
  });
};

/** A zero point of rows (`[rows]`, left) or columns (`[columns]`, right) taken off. */
function withoutZero(call: OperatorCall, index: number, zeroIndex: number, perRow: boolean): tf.Tensor {
  const codes = asFloat(call.device(index));
  const zero = call.optionalDevice(zeroIndex);
  if (zero === null) return codes;
  const values = asFloat(zero);
  return tf.sub(codes, perRow && values.rank === 1 && values.size > 1 ? tf.expandDims(values, 1) : values);
}

/** (A - a_zero) (B - b_zero) as int32, summed in float32: exact below 2^24, to a few units beyond. No gradient. */
const matMulInteger = (call: OperatorCall): Value[] => [
  detached(() => {
    const a = withoutZero(call, 0, 2, true);
    const b = withoutZero(call, 1, 3, false);
    if (b.rank !== 2) return tf.cast(definedProduct(a, b), "int32");
    const rows = tf.reshape(a, [-1, a.shape.at(-1)!]);
    return tf.cast(tf.reshape(definedProduct(rows, b), [...a.shape.slice(0, -1), b.shape[1]!]), "int32");
  }),
];

/** Conversions to and from quantised integers, and their product. */
export const quantisationOperators: OperatorTable = {
  QuantizeLinear: quantizeLinear,
  DequantizeLinear: dequantizeLinear,
  DynamicQuantizeLinear: dynamicQuantizeLinear,
  MatMulInteger: matMulInteger,
  QLinearMatMul: (call) => call.evaluateOnHost(),
};
