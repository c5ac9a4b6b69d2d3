import { TensorError } from "./errors.ts";
import { elementType } from "./element-types.ts";
import type { ElementType, TypedField } from "./element-types.ts";
import type { TensorProto } from "./proto.ts";

const typedFields: readonly TypedField[] = [
  "floatData",
  "int32Data",
  "int64Data",
  "doubleData",
  "uint64Data",
  "stringData",
];

/**
 * The shape of a tensor and its number of elements (1 for a scalar).
 * Throws TensorError if a dimension is negative or the product is 2^53 or more.
 */
export function tensorShape(tensor: TensorProto): { dims: number[]; count: number } {
  let count = 1n;
  for (const dim of tensor.dims) {
    if (dim.isNegative()) {
      throw new TensorError(tensor.name, `its shape [${tensor.dims.join(", ")}] has a negative dimension.`);
    }
    count *= dim.toBigInt();
  }
  const dims = tensor.dims.map((dim) => dim.toNumber());
  if (count > BigInt(Number.MAX_SAFE_INTEGER) || dims.some((dim) => !Number.isSafeInteger(dim))) {
    throw new TensorError(tensor.name, `its shape [${tensor.dims.join(", ")}] has ${count} elements, beyond 2^53.`);
  }
  return { dims, count: Number(count) };
}

/** How many bytes `count` elements take in `raw_data` or as external data. */
export function rawLength(type: ElementType, count: number): number {
  const length = (BigInt(count) * BigInt(type.bits) + 7n) / 8n;
  // Inexact beyond 2^53 bits, but then it equals no real length, and the comparison fails as it should.
  return Number(length);
}

/**
 * Checks that a tensor's shape, element type and data fit each other, without reading values. An unknown `data_type` is
 * accepted: such a tensor can be copied, but not read.
 * Throws TensorError.
 */
export function checkTensor(tensor: TensorProto): void {
  const fail = (message: string): never => {
    throw new TensorError(tensor.name, message);
  };
  const { count } = tensorShape(tensor);
  const type = elementType(tensor.dataType);
  if (tensor.dataType === 0) fail("it has no element type.");
  if (tensor.segment) fail("it is a segment of a larger tensor, which no runtime supports. Export it whole.");

  const rawBytes = tensor.rawData.length;
  const filled: string[] = typedFields.filter((field) => tensor[field].length > 0);
  if (rawBytes > 0) filled.push("rawData");
  if (tensor.source !== undefined) filled.push(tensor.source.field);
  else if (tensor.dataLocation === 1) filled.push("externalData");
  if (filled.length > 1)
    fail(`it has values in ${filled.join(" and in ")}, where only one is allowed. Export it again.`);
  if (type === undefined) return;

  const shape = `${type.name}[${tensor.dims.join(", ")}]`;
  const place = filled[0];
  if (place === undefined) {
    if (count > 0) fail(`it is ${shape}, but has no data.`);
    return;
  }
  if (place === "externalData" && tensor.source === undefined) return;
  if (place === "rawData" || place === "externalData" || tensor.source !== undefined) {
    if (type.bits === 0) fail("it holds strings, but has raw data.");
    if (tensor.source !== undefined && place !== "rawData" && place !== "externalData" && place !== type.typedField) {
      fail(`it is ${shape}, but has its values in ${place}.`);
    }
    const expected = rawLength(type, count);
    const found = tensor.source?.range.length ?? rawBytes;
    if (found !== expected) fail(`it is ${shape}, which takes ${expected} bytes, but has ${found}. Export it again.`);
    return;
  }
  if (place !== type.typedField) fail(`it is ${shape}, but has its values in ${place} instead of ${type.typedField}.`);
  const expected = Math.ceil(count * type.typedEntries);
  const found = tensor[type.typedField].length;
  if (found !== expected) fail(`it is ${shape}, which takes ${expected} values, but has ${found}. Export it again.`);
}
