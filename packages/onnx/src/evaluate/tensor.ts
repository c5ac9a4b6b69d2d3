import { ArgumentError } from "@favor/core";
import { DataType, type TensorProto } from "../model/proto.ts";
import { makeTensor, tensorValues } from "../model/tensor.ts";
import * as formats from "./number-formats.ts";
import type { FloatFormat } from "./number-formats.ts";
import { elementCount } from "../semantics/shapes.ts";

export { elementCount };

/**
 * Elements of a {@link Tensor} by data type:
 *
 * - FLOAT, and the smaller floating-point types as values that they can hold: Float32Array; DOUBLE: Float64Array.
 * - INT8 to INT32, UINT8 to UINT32: the array of that name. INT4, INT2 as Int8Array, UINT4, UINT2 as Uint8Array.
 * - BOOL: Uint8Array of 0 and 1.
 * - INT64 and UINT64: Float64Array of integers. Every value up to 2^53 is exact, and every operator computes on the
 *   same `number`s as for other types, which BigInt64Array would not allow. Shapes, positions and token ids are far
 *   below; sentinels read as the nearest double (INT64_MIN exactly, INT64_MAX as 2^63) and are clamped where they
 *   are used as bounds. What arithmetic makes beyond 2^53 becomes NaN, an integer of unknown value: it may be
 *   discarded, but an operator that depends on it refuses it.
 */
export type TensorData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | Uint8Array
  | Uint16Array
  | Uint32Array;

/** A value of the evaluator: row-major, the last of `dims` fastest; never changed once made, so that views share it. */
export interface Tensor {
  readonly dims: readonly number[];
  /** A value of {@link DataType}. */
  readonly dataType: number;
  readonly data: TensorData;
}

interface TypeTraits {
  readonly make: (length: number) => TensorData;
  readonly kind: "float" | "integer" | "bool";
  /** Set for floating-point types that are kept as Float32Array. */
  readonly format?: FloatFormat;
}

const small = (format: FloatFormat): TypeTraits => ({
  make: (length) => new Float32Array(length),
  kind: "float",
  format,
});
const integer = (make: (length: number) => TensorData): TypeTraits => ({ make, kind: "integer" });

const traits: ReadonlyMap<number, TypeTraits> = new Map<number, TypeTraits>([
  [DataType.FLOAT, { make: (length) => new Float32Array(length), kind: "float" }],
  [DataType.DOUBLE, { make: (length) => new Float64Array(length), kind: "float" }],
  [DataType.FLOAT16, small(formats.float16)],
  [DataType.BFLOAT16, small(formats.bfloat16)],
  [DataType.FLOAT8E4M3FN, small(formats.float8E4M3FN)],
  [DataType.FLOAT8E4M3FNUZ, small(formats.float8E4M3FNUZ)],
  [DataType.FLOAT8E5M2, small(formats.float8E5M2)],
  [DataType.FLOAT8E5M2FNUZ, small(formats.float8E5M2FNUZ)],
  [DataType.FLOAT4E2M1, small(formats.float4E2M1)],
  [DataType.BOOL, { make: (length) => new Uint8Array(length), kind: "bool" }],
  [DataType.INT64, integer((length) => new Float64Array(length))],
  [DataType.UINT64, integer((length) => new Float64Array(length))],
  [DataType.INT32, integer((length) => new Int32Array(length))],
  [DataType.UINT32, integer((length) => new Uint32Array(length))],
  [DataType.INT16, integer((length) => new Int16Array(length))],
  [DataType.UINT16, integer((length) => new Uint16Array(length))],
  [DataType.INT8, integer((length) => new Int8Array(length))],
  [DataType.UINT8, integer((length) => new Uint8Array(length))],
  [DataType.INT4, integer((length) => new Int8Array(length))],
  [DataType.UINT4, integer((length) => new Uint8Array(length))],
  [DataType.INT2, integer((length) => new Int8Array(length))],
  [DataType.UINT2, integer((length) => new Uint8Array(length))],
]);

function traitsOf(dataType: number): TypeTraits {
  const found = traits.get(dataType);
  if (found === undefined) throw new ArgumentError("dataType", "a numeric or boolean ONNX data type", dataType);
  return found;
}

/**
 * Whether the evaluator can hold tensors of this data type: all but strings, complex numbers, and the scales and 6-bit
 * numbers of the MX formats.
 */
export function isSupportedType(dataType: number): boolean {
  return traits.has(dataType);
}

/** @throws ArgumentError if {@link isSupportedType} is false, as do the functions below */
export function isFloat(dataType: number): boolean {
  return traitsOf(dataType).kind === "float";
}

export function isInteger(dataType: number): boolean {
  return traitsOf(dataType).kind === "integer";
}

/** Zeros for `length` elements of `dataType`. */
export function makeData(dataType: number, length: number): TensorData {
  return traitsOf(dataType).make(length);
}

/**
 * A tensor of the given values, rounded if the type is a small floating-point one.
 *
 * @param dims must multiply to `values.length`
 * @throws ArgumentError if they do not, or the type is not held
 */
export function tensorOf(dataType: number, dims: readonly number[], values: ArrayLike<number>): Tensor {
  if (elementCount(dims) !== values.length) {
    throw new ArgumentError("values", `${elementCount(dims)} elements for shape [${dims.join(", ")}]`, values.length);
  }
  const data = makeData(dataType, values.length);
  data.set(values);
  roundInPlace(dataType, data);
  return { dims, dataType, data };
}

/** The format of a floating-point type that is kept in wider arrays, else undefined. */
export function formatOf(dataType: number): FloatFormat | undefined {
  return traitsOf(dataType).format;
}

/** The largest finite number of a floating-point type; Infinity, beyond all, for the others. */
export function largestOf(dataType: number): number {
  if (dataType === DataType.FLOAT) return (2 - 2 ** -23) * 2 ** 127;
  if (dataType === DataType.DOUBLE) return Number.MAX_VALUE;
  return formatOf(dataType)?.max ?? Infinity;
}

/** Rounds every value to one that `dataType` can hold; does nothing for types that have arrays of their own. */
export function roundInPlace(dataType: number, data: TensorData): void {
  const format = formatOf(dataType);
  if (format !== undefined && data instanceof Float32Array) formats.roundAll(data, format);
}

/**
 * The values of a TensorProto. int64 values beyond 2^53 become the nearest double, see {@link TensorData}.
 *
 * @throws TensorError or ExternalDataError as {@link tensorValues}; ArgumentError for a type that is not held
 */
export function decodeTensor(proto: TensorProto): Tensor {
  traitsOf(proto.dataType);
  const { dims, dataType, data } = tensorValues(proto);
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    const numbers = new Float64Array(data.length);
    for (let i = 0; i < numbers.length; i++) numbers[i] = Number(data[i]!);
    return { dims, dataType, data: numbers };
  }
  return { dims, dataType, data };
}

/**
 * The tensor as a TensorProto, to be stored in a graph; {@link decodeTensor} reads it back. 64-bit integers are clamped to
 * their range, so that INT64_MAX, which is kept as 2^63, is written as itself.
 *
 * @throws ArgumentError for 8-bit and smaller floating-point types, as {@link makeTensor}, and for integers of unknown
 *   value
 */
export function encodeTensor(name: string, tensor: Tensor): TensorProto {
  const { dims, dataType, data } = tensor;
  if (isInteger(dataType) && data.some(Number.isNaN)) {
    throw new ArgumentError(`tensor "${name}"`, "integers of known value", "integers beyond 2^53");
  }
  if (dataType === DataType.INT64) {
    const largest = 2n ** 63n - 1n;
    const values = BigInt64Array.from(data, (value) => (value >= 2 ** 63 ? largest : BigInt(value)));
    return makeTensor(name, dims, dataType, values);
  }
  if (dataType === DataType.UINT64) {
    const largest = 2n ** 64n - 1n;
    const values = BigUint64Array.from(data, (value) => (value >= 2 ** 64 ? largest : BigInt(value)));
    return makeTensor(name, dims, dataType, values);
  }
  return makeTensor(name, dims, dataType, data);
}
