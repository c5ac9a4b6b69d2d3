import { ArgumentError } from "@favor/core";
import Long from "long";
import { util } from "protobufjs/minimal.js";
import { readRange } from "./byte-range.ts";
import { ExternalDataError, TensorError } from "./errors.ts";
import { elementType } from "./element-types.ts";
import type { ElementType } from "./element-types.ts";
import { DataType } from "./proto.ts";
import type { TensorProto } from "./proto.ts";
import { createMessage } from "./schema.ts";
import { smallFloatTable, toBfloat16, toFloat16 } from "./small-floats.ts";
import { checkTensor, rawLength, tensorShape } from "./tensor-shape.ts";

/** The arrays that tensor values are read into. */
export type TensorArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

export interface TensorValues {
  /** `[]` for a scalar */
  readonly dims: number[];
  readonly dataType: number;
  /** Row-major. Complex numbers take two elements each, the real part first. */
  readonly data: TensorArray;
}

type ArrayConstructor<T> = new (buffer: ArrayBuffer, byteOffset?: number, length?: number) => T;

/** Element types whose bytes are those of a typed array. */
const arrays: ReadonlyMap<number, ArrayConstructor<TensorArray>> = new Map<number, ArrayConstructor<TensorArray>>([
  [DataType.FLOAT, Float32Array],
  [DataType.COMPLEX64, Float32Array],
  [DataType.DOUBLE, Float64Array],
  [DataType.COMPLEX128, Float64Array],
  [DataType.INT8, Int8Array],
  [DataType.UINT8, Uint8Array],
  [DataType.BOOL, Uint8Array],
  [DataType.INT16, Int16Array],
  [DataType.UINT16, Uint16Array],
  [DataType.INT32, Int32Array],
  [DataType.UINT32, Uint32Array],
  [DataType.INT64, BigInt64Array],
  [DataType.UINT64, BigUint64Array],
]);

/**
 * Reads the values of a tensor from where they are: raw data, a typed field, or a file.
 *
 * FLOAT, DOUBLE and integers of 8 to 64 bits are read as the typed array of that type; BOOL as Uint8Array of 0 and 1;
 * FLOAT16, BFLOAT16, FLOAT8*, FLOAT6*, FLOAT4E2M1 and FLOAT8E8M0 as Float32Array (exact); INT4 and INT2 as Int8Array,
 * UINT4 and UINT2 as Uint8Array, one element per entry. The array may be a view of the model's bytes: do not write
 * to it.
 *
 * Throws TensorError if data, shape and type do not fit each other, or the tensor holds strings
 * (see {@link tensorStrings}); ExternalDataError when external data has not been attached.
 */
export function tensorValues(tensor: TensorProto): TensorValues {
  checkTensor(tensor);
  const type = knownType(tensor);
  if (type.bits === 0) throw new TensorError(tensor.name, "it holds strings, but numbers are expected.");
  const { dims, count } = tensorShape(tensor);
  const { dataType } = tensor;
  const bytes = tensorBytes(tensor, type, count);
  const array = arrays.get(dataType);
  if (array !== undefined) return { dims, dataType, data: view(array, bytes) };

  const codes = type.bits === 16 ? view(Uint16Array, bytes) : unpackBits(bytes, type.bits, count);
  const table = smallFloatTable(dataType);
  if (table !== undefined) return { dims, dataType, data: Float32Array.from(codes, (code) => table[code]!) };
  if (dataType === DataType.UINT4 || dataType === DataType.UINT2) return { dims, dataType, data: codes };
  const unused = 32 - type.bits;
  return { dims, dataType, data: Int8Array.from(codes, (code) => (code << unused) >> unused) };
}

/** The values of a tensor of strings, row-major. Throws TensorError for other tensors, and for invalid UTF-8. */
export function tensorStrings(tensor: TensorProto): { dims: number[]; data: string[] } {
  checkTensor(tensor);
  const type = knownType(tensor);
  if (type.bits !== 0) throw new TensorError(tensor.name, `it holds ${type.name}, but strings are expected.`);
  try {
    return {
      dims: tensorShape(tensor).dims,
      data: tensor.stringData.map((bytes) => util.utf8.readStrict(bytes, 0, bytes.length)),
    };
  } catch (cause) {
    throw new TensorError(tensor.name, "one of its strings is not UTF-8.", cause);
  }
}

function knownType(tensor: TensorProto): ElementType {
  const type = elementType(tensor.dataType);
  if (type === undefined) throw new TensorError(tensor.name, `its element type ${tensor.dataType} is unknown.`);
  return type;
}

/** The bytes of the values as in `raw_data`, little-endian. */
function tensorBytes(tensor: TensorProto, type: ElementType, count: number): Uint8Array {
  if (tensor.source !== undefined) return readRange(tensor.source.range);
  if (tensor.dataLocation === 1) {
    const location = tensor.externalData.find((entry) => entry.key === "location")?.value ?? "";
    const advice = "it has not been attached. Open the model with `openModel`, or call `attachExternalData` first.";
    throw new ExternalDataError(tensor.name, location, advice);
  }
  if (tensor.rawData.length > 0) return tensor.rawData;
  const bytes = new Uint8Array(rawLength(type, count));
  switch (type.typedField) {
    case "floatData":
      view(Float32Array, bytes).set(tensor.floatData);
      break;
    case "doubleData":
      view(Float64Array, bytes).set(tensor.doubleData);
      break;
    case "int64Data":
      view(BigInt64Array, bytes).set(tensor.int64Data.map((value) => value.toBigInt()));
      break;
    case "uint64Data":
      if (type.bits === 32) view(Uint32Array, bytes).set(tensor.uint64Data.map((value) => value.toNumber()));
      else view(BigUint64Array, bytes).set(tensor.uint64Data.map((value) => value.toUnsigned().toBigInt()));
      break;
    default:
      // An entry holds one element, or one byte of packed elements. Storing keeps the low bits.
      if (type.bits === 6) packBits(tensor.int32Data, 6, bytes);
      else if (type.bits === 32) view(Int32Array, bytes).set(tensor.int32Data);
      else if (type.bits === 16) view(Uint16Array, bytes).set(tensor.int32Data);
      else bytes.set(tensor.int32Data);
  }
  return bytes;
}

/** `bytes` as elements: a view if alignment allows it, else a copy. Little-endian, as on today's platforms. */
function view<T>(array: ArrayConstructor<T>, bytes: Uint8Array): T {
  const size = (array as ArrayConstructor<T> & { BYTES_PER_ELEMENT: number }).BYTES_PER_ELEMENT;
  // Not `slice`: on a Node Buffer, it makes a view.
  const aligned = bytes.byteOffset % size === 0 ? bytes : Uint8Array.from(bytes);
  return new array(aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength / size);
}

/** Elements of `bits` (2, 4, 6 or 8) bits, the first in the lowest bits of the first byte. */
function unpackBits(bytes: Uint8Array, bits: number, count: number): Uint8Array {
  if (bits === 8) return bytes;
  const codes = new Uint8Array(count);
  const mask = (1 << bits) - 1;
  for (let index = 0, bit = 0; index < count; index++, bit += bits) {
    const pair = bytes[bit >>> 3]! | ((bytes[(bit >>> 3) + 1] ?? 0) << 8);
    codes[index] = (pair >>> (bit & 7)) & mask;
  }
  return codes;
}

function packBits(codes: ArrayLike<number>, bits: number, bytes: Uint8Array): void {
  const mask = (1 << bits) - 1;
  for (let index = 0, bit = 0; index < codes.length; index++, bit += bits) {
    const shifted = (codes[index]! & mask) << (bit & 7);
    bytes[bit >>> 3]! |= shifted;
    if (shifted > 255) bytes[(bit >>> 3) + 1]! |= shifted >>> 8;
  }
}

/**
 * Makes a tensor with its values in `raw_data`. `data` is the typed array of the element type, as {@link tensorValues}
 * returns it. FLOAT16 and BFLOAT16 take a Float32Array (rounded to nearest even) or their bit patterns as Uint16Array;
 * FLOAT8* and packed types take their bytes as Uint8Array; INT4 and INT2 also take one element per entry as Int8Array.
 * If no conversion is needed, the bytes of `data` are shared, not copied.
 *
 * Throws ArgumentError if `data` has another type or its length is not the product of `dims`.
 */
export function makeTensor(name: string, dims: readonly number[], dataType: number, data: TensorArray): TensorProto {
  const type = elementType(dataType);
  if (type === undefined || type.bits === 0) throw new ArgumentError("dataType", "a numeric element type", dataType);
  const tensor = createMessage("TensorProto", { name, dataType, dims: dims.map((dim) => Long.fromNumber(dim)) });
  const { count } = tensorShape(tensor);
  const bytes = rawBytes(dataType, type, data, count);
  if (bytes.length !== rawLength(type, count)) {
    throw new ArgumentError(
      "data",
      `${count} elements of ${type.name} for the shape [${dims.join(", ")}]`,
      data.length,
    );
  }
  tensor.rawData = bytes;
  return tensor;
}

function rawBytes(dataType: number, type: ElementType, data: TensorArray, count: number): Uint8Array {
  const array = arrays.get(dataType) ?? (type.bits === 16 ? Uint16Array : Uint8Array);
  if (data instanceof array) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (type.bits === 16 && data instanceof Float32Array) {
    const round = dataType === DataType.BFLOAT16 ? toBfloat16 : toFloat16;
    const patterns = Uint16Array.from(data, round);
    return new Uint8Array(patterns.buffer);
  }
  if (
    (dataType === DataType.INT4 || dataType === DataType.INT2) &&
    data instanceof Int8Array &&
    data.length === count
  ) {
    const bytes = new Uint8Array(rawLength(type, count));
    packBits(data, type.bits, bytes);
    return bytes;
  }
  throw new ArgumentError("data", `${array.name} for ${type.name}`, data.constructor.name);
}
