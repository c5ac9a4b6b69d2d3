import { DataType } from "../../model/proto.ts";
import { shown, type OperatorCall, type OperatorTable } from "../call.ts";
import { roundTo } from "../number-formats.ts";
import { axisView, computed } from "../positions.ts";
import { formatOf, type Tensor } from "../tensor.ts";
import { roundHalfEven } from "./arithmetic.ts";
import { integerRange } from "./casting.ts";
import { matmul, shifted } from "./product.ts";

/**
 * Index of each element's scale: one scale for all, one per index along `axis`, or (opset 21) one per block of
 * `block_size` along it.
 */
function scaleIndex(call: OperatorCall, source: Tensor, scale: Tensor): (i: number) => number {
  if (scale.data.length === 1) return () => 0;
  const axis = call.axis(call.int("axis", 1), source.dims.length);
  const { length, inner } = axisView(source.dims, axis);
  const blockSize = call.int("block_size", 0);
  if (blockSize === 0) {
    if (scale.data.length !== length) call.fail(`scale ${shown(scale.dims)} does not fit ${shown(source.dims)}`);
    return (i) => Math.floor(i / inner) % length;
  }
  const blocks = scale.dims[axis] ?? call.fail(`scale ${shown(scale.dims)} lacks axis ${axis}`);
  if (Math.ceil(length / blockSize) !== blocks)
    call.fail(`scale ${shown(scale.dims)} does not fit ${shown(source.dims)}`);
  return (i) => {
    const row = Math.floor(i / inner);
    return (Math.floor(row / length) * blocks + Math.floor((row % length) / blockSize)) * inner + (i % inner);
  };
}

/** Brings values into the type's range: integers clamp, 8-bit floating-point numbers round and saturate. */
function quantiser(dataType: number, saturate: boolean): (value: number) => number {
  const format = formatOf(dataType);
  if (format !== undefined) return (value) => roundTo(value, format, saturate);
  const [low, high] = integerRange(dataType) ?? [-Infinity, Infinity];
  return (value) => Math.min(Math.max(value, low), high);
}

/** round(x / scale) + zero_point, halves to even, in the zero point's type (default uint8). */
const quantizeLinear = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const scale = call.input(1);
  const zeroPoint = call.optional(2);
  const requested = call.int("output_dtype", 0);
  const dataType = zeroPoint?.dataType ?? (requested === 0 ? DataType.UINT8 : requested);
  const data = call.data(source.dims, dataType);
  const at = scaleIndex(call, source, scale);
  const quantise = quantiser(dataType, call.int("saturate", 1) !== 0);
  const rounds = formatOf(dataType) === undefined;
  for (let i = 0; i < data.length; i++) {
    // The quotient is a float32 in the specification, which decides what is a half.
    const quotient = Math.fround(source.data[i]! / scale.data[at(i)]!);
    const shift = zeroPoint === null ? 0 : zeroPoint.data[at(i)]!;
    data[i] = quantise((rounds ? roundHalfEven(quotient) : quotient) + shift);
  }
  return [{ dims: source.dims, dataType, data }];
};

/** (x - zero_point) * scale, in the scale's type. */
const dequantizeLinear = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const scale = call.input(1);
  const zeroPoint = call.optional(2);
  const requested = call.int("output_dtype", 0);
  const dataType = requested === 0 ? scale.dataType : requested;
  const data = call.data(source.dims, dataType);
  const at = scaleIndex(call, source, scale);
  for (let i = 0; i < data.length; i++) {
    data[i] = (source.data[i]! - (zeroPoint === null ? 0 : zeroPoint.data[at(i)]!)) * scale.data[at(i)]!;
  }
  return [computed(source.dims, dataType, data)];
};

/** uint8 with a scale from the range of the input, 0 included; all in float32. */
const dynamicQuantizeLinear = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  let low = 0;
  let high = 0;
  for (let i = 0; i < source.data.length; i++) {
    low = Math.min(low, source.data[i]!);
    high = Math.max(high, source.data[i]!);
  }
  const range = Math.fround(high - low);
  const scale = range === 0 ? 1 : Math.fround(range / 255);
  const clamp = quantiser(DataType.UINT8, true);
  const zeroPoint = clamp(roundHalfEven(Math.fround(-low / scale)));
  const data = call.data(source.dims, DataType.UINT8);
  for (let i = 0; i < data.length; i++) {
    data[i] = clamp(roundHalfEven(Math.fround(source.data[i]! / scale)) + zeroPoint);
  }
  return [
    { dims: source.dims, dataType: DataType.UINT8, data },
    { dims: [], dataType: DataType.FLOAT, data: Float32Array.of(scale) },
    { dims: [], dataType: DataType.UINT8, data: Uint8Array.of(zeroPoint) },
  ];
};

/** Quantised A times quantised B, quantised: inputs a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero. */
const qLinearMatMul = (call: OperatorCall): Tensor[] => {
  const [aScale, bScale, yScale] = [call.input(1), call.input(4), call.input(6)];
  if (aScale.data.length !== 1 || yScale.data.length !== 1) {
    throw call.unsupported("scales per row are not evaluated");
  }
  const product = matmul(
    call,
    shifted(call, call.input(0), call.input(2), true),
    shifted(call, call.input(3), call.input(5), false),
    DataType.DOUBLE,
  );
  const zeroPoint = call.input(7);
  const { dataType } = zeroPoint;
  const data = call.data(product.dims, dataType);
  const quantise = quantiser(dataType, true);
  const columns = product.dims.at(-1) ?? 1;
  for (let i = 0; i < data.length; i++) {
    const scale = (aScale.data[0]! * bScale.data[bScale.data.length === 1 ? 0 : i % columns]!) / yScale.data[0]!;
    data[i] = quantise(roundHalfEven(product.data[i]! * scale) + zeroPoint.data[0]!);
  }
  return [{ dims: product.dims, dataType, data }];
};

/** Conversions to and from quantised integers. */
export const quantisationOperators: OperatorTable = {
  QuantizeLinear: quantizeLinear,
  DequantizeLinear: dequantizeLinear,
  DynamicQuantizeLinear: dynamicQuantizeLinear,
  QLinearMatMul: qLinearMatMul,
};
