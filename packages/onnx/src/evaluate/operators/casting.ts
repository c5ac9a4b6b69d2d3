import { DataType } from "../../model/proto.ts";
import { hasInexact, inexact, type OperatorCall, type OperatorTable } from "../call.ts";
import { roundTo } from "../number-formats.ts";
import { formatOf, isFloat, isSupportedType, type Tensor } from "../tensor.ts";

/** Smallest and largest value of each integer type. */
const integerRanges: ReadonlyMap<number, readonly [number, number]> = new Map([
  [DataType.INT64, [-(2 ** 63), 2 ** 63]],
  [DataType.UINT64, [0, 2 ** 64]],
  [DataType.INT32, [-(2 ** 31), 2 ** 31 - 1]],
  [DataType.UINT32, [0, 2 ** 32 - 1]],
  [DataType.INT16, [-(2 ** 15), 2 ** 15 - 1]],
  [DataType.UINT16, [0, 2 ** 16 - 1]],
  [DataType.INT8, [-128, 127]],
  [DataType.UINT8, [0, 255]],
  [DataType.INT4, [-8, 7]],
  [DataType.UINT4, [0, 15]],
  [DataType.INT2, [-2, 1]],
  [DataType.UINT2, [0, 3]],
]);

/** Smallest and largest value of an integer type; undefined for other types. */
export function integerRange(dataType: number): readonly [number, number] | undefined {
  return integerRanges.get(dataType);
}

/**
 * Converts floating-point numbers to integers. ONNX leaves the result undefined for NaN and for numbers out of range, and
 * processors differ. They agree on INT64_MIN for anything below it. Otherwise, a 64-bit integer becomes an unknown value,
 * one of 8 to 32 bits saturates, a smaller one wraps, and NaN becomes 0.
 */
function truncation(to: number, low: number, high: number, wrap: (value: number) => number): (value: number) => number {
  // `+ 0` turns -0 into 0, which integers do not tell apart.
  if (to === DataType.INT64) return (value) => (value >= high ? NaN : Math.max(Math.trunc(value), low) + 0);
  if (to === DataType.UINT64) return (value) => (value >= high || value <= -1 ? NaN : Math.trunc(value) + 0);
  const fit = high - low < 16 ? wrap : (value: number) => Math.min(Math.max(value, low), high);
  return (value) => (Number.isNaN(value) ? 0 : fit(Math.trunc(value)) + 0);
}

/**
 * The conversion of Cast from one type to another. Integers wrap. Any number but 0, NaN included, is true.
 */
function conversion(from: number, to: number, saturate: boolean): (value: number) => number {
  if (to === DataType.BOOL) return (value) => (value === 0 ? 0 : 1);
  const format = formatOf(to);
  if (format !== undefined) {
    // Half precision has infinities for what does not fit; only the 8-bit formats saturate.
    const saturates = saturate && format.exponentBits + format.mantissaBits < 8;
    return (value) => roundTo(value, format, saturates);
  }
  const range = integerRanges.get(to);
  if (range === undefined) return (value) => value;
  const [low, high] = range;
  const span = high - low + 1;
  const wrap = (value: number) => value - span * Math.floor((value - low) / span);
  if (isFloat(from)) return truncation(to, low, high, wrap);
  if (to === DataType.INT64) {
    if (from !== DataType.UINT64) return (value) => value;
    // 2^64 stands for UINT64_MAX.
    return (value) => (value >= 2 ** 64 ? -1 : value >= 2 ** 63 ? value - 2 ** 64 : value);
  }
  if (to === DataType.UINT64) return (value) => (value < 0 ? value + 2 ** 64 : value);
  // 2^63 stands for INT64_MAX, all of whose lower bits are set, and 2^64 for UINT64_MAX.
  return (value) => wrap(value >= 2 ** 63 ? -1 : value);
}

/** `source` as another data type; the tensor itself if it is of that type. */
function castTo(call: OperatorCall, source: Tensor, to: number, saturate: boolean = true): Tensor {
  if (source.dataType === to) return source;
  if (!isSupportedType(to)) throw call.unsupported(`data type ${to} is not held by the evaluator`);
  if (hasInexact(source)) throw call.unsupported(inexact);
  const convert = conversion(source.dataType, to, saturate);
  const data = call.data(source.dims, to);
  for (let i = 0; i < data.length; i++) data[i] = convert(source.data[i]!);
  return { dims: source.dims, dataType: to, data };
}

const cast = (call: OperatorCall): Tensor[] => [
  castTo(call, call.input(0), call.int("to") ?? call.fail("attribute to is required"), call.int("saturate", 1) !== 0),
];

const castLike = (call: OperatorCall): Tensor[] => [
  castTo(call, call.input(0), call.input(1).dataType, call.int("saturate", 1) !== 0),
];

/** Conversions between data types. */
export const castingOperators: OperatorTable = { Cast: cast, CastLike: castLike };
