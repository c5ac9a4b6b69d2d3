import { Tensor } from "onnxruntime-node";
import { DataType } from "@favor/onnx";
import type { ZooFolder } from "./folder.ts";
import { readNpz, type NpyArray } from "./npz.ts";

/** One sample of an entry: inputs for onnxruntime, and the outputs that the framework gave. */
export interface ZooSample {
  readonly feeds: Readonly<Record<string, Tensor>>;
  readonly expected: ReadonlyMap<string, { readonly dims: readonly number[]; readonly values: ArrayLike<number> }>;
  /** Which positions are real tokens, [batch, length]; undefined without an attention mask. */
  readonly mask: { readonly dims: readonly number[]; readonly values: ArrayLike<number> } | undefined;
}

export function readSample(folder: ZooFolder, file: string): ZooSample {
  const arrays = [...readNpz(folder.read(file))];
  const named = (prefix: string) =>
    arrays.flatMap(([name, array]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), array] as const] : []));
  const mask = arrays.find(([name]) => name === "in.attention_mask")?.[1];
  return {
    feeds: Object.fromEntries(named("in.").map(([name, array]) => [name, tensorOf(array)])),
    expected: new Map(named("out.").map(([name, array]) => [name, numbersOf(array)])),
    mask: mask && numbersOf(mask),
  };
}

/** An array of a sample as onnxruntime takes it. */
export function tensorOf({ dims, dataType, bytes }: NpyArray): Tensor {
  const { buffer } = Uint8Array.from(bytes);
  switch (dataType) {
    case DataType.FLOAT:
      return new Tensor("float32", new Float32Array(buffer), dims);
    case DataType.FLOAT16:
      return new Tensor("float16", new Uint16Array(buffer), dims);
    case DataType.INT64:
      return new Tensor("int64", new BigInt64Array(buffer), dims);
    case DataType.INT32:
      return new Tensor("int32", new Int32Array(buffer), dims);
    case DataType.BOOL:
      return new Tensor("bool", new Uint8Array(buffer), dims);
    default:
      throw new Error(`No sample has data type ${dataType}.`);
  }
}

function numbersOf(array: NpyArray): { dims: readonly number[]; values: ArrayLike<number> } {
  return { dims: array.dims, values: numbersOfTensor(tensorOf(array)) };
}

/** The elements of a tensor of onnxruntime as numbers. */
export function numbersOfTensor(tensor: Tensor): ArrayLike<number> {
  const { data, type } = tensor;
  if (type === "float16") return Float32Array.from(data as Uint16Array, (bits) => halfToNumber(bits));
  return Float64Array.from(data as ArrayLike<number | bigint>, Number);
}

function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/** Largest difference of an output from the expected one; at unpadded positions where it has the mask's positions. */
export function validDifference(
  found: Tensor,
  expected: { readonly dims: readonly number[]; readonly values: ArrayLike<number> },
  mask: ZooSample["mask"],
): number {
  const values = numbersOfTensor(found);
  if (found.dims.join() !== expected.dims.join()) return Infinity;
  const perPosition = mask !== undefined && mask.dims.every((dim, axis) => expected.dims[axis] === dim);
  const width = perPosition ? values.length / mask.values.length : 1;
  let worst = 0;
  for (let i = 0; i < values.length; i++) {
    if (perPosition && mask.values[Math.floor(i / width)] === 0) continue;
    const difference = Math.abs(values[i]! - expected.values[i]!);
    worst = Number.isNaN(difference) ? Infinity : Math.max(worst, difference);
  }
  return worst;
}
