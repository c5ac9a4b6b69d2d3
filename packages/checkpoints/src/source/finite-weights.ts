import { DataType, modelGraphs, tensorValues } from "@favor/onnx";
import type { ModelProto, TensorProto } from "@favor/onnx";

import { InputError } from "../errors.ts";

/** Weights are checked in pieces of this many bytes, so that memory use does not grow with the model. */
const pieceBytes = 4 * 1024 * 1024;

/** Finds the first NaN among the elements in the first `bytes` bytes of a buffer; -1 if there is none. */
interface Search {
  readonly elementBytes: number;
  first(piece: ArrayBuffer, bytes: number): number;
}

/** In a 16-bit format, a NaN has an exponent of all ones and a non-zero mantissa. */
function search16(infinity: number): Search {
  return {
    elementBytes: 2,
    first: (piece, bytes) => new Uint16Array(piece, 0, bytes / 2).findIndex((bits) => (bits & 0x7fff) > infinity),
  };
}

const searches: ReadonlyMap<number, Search> = new Map<number, Search>([
  [DataType.FLOAT, { elementBytes: 4, first: (piece, bytes) => firstNaN(new Float32Array(piece, 0, bytes / 4)) }],
  [DataType.DOUBLE, { elementBytes: 8, first: (piece, bytes) => firstNaN(new Float64Array(piece, 0, bytes / 8)) }],
  [DataType.FLOAT16, search16(0x7c00)],
  [DataType.BFLOAT16, search16(0x7f80)],
]);

function firstNaN(values: Float32Array | Float64Array): number {
  for (let i = 0; i < values.length; i++) if (Number.isNaN(values[i])) return i;
  return -1;
}

/**
 * Refuses a model with a NaN among its weights, because converting or measuring it would be meaningless. Infinities are
 * allowed: masks contain them.
 *
 * @param path - the model's file, for the message.
 * @throws {InputError} `weights-not-finite`, naming the tensor and the element.
 */
export function checkWeights(model: ModelProto, path: string): void {
  for (const graph of modelGraphs(model)) {
    for (const tensor of graph.initializer) {
      const index = notANumberIn(tensor);
      if (index < 0) continue;
      throw new InputError(
        `${path}: the weight ${JSON.stringify(tensor.name)} is NaN at element ${index}. The checkpoint is damaged, or its ` +
          `training diverged: get an undamaged copy, or an earlier checkpoint.`,
        { code: "weights-not-finite", details: { tensor: tensor.name, index } },
      );
    }
  }
}

function notANumberIn(tensor: TensorProto): number {
  const search = searches.get(tensor.dataType);
  if (search === undefined) return -1;
  const range = tensor.source?.range;
  if (range === undefined) {
    const { data } = tensorValues(tensor);
    return data instanceof Float32Array || data instanceof Float64Array ? firstNaN(data) : -1;
  }
  const piece = new Uint8Array(Math.min(range.length, pieceBytes));
  for (let offset = 0; offset < range.length; offset += pieceBytes) {
    const bytes = Math.min(pieceBytes, range.length - offset);
    range.readInto(piece.subarray(0, bytes), offset);
    const found = search.first(piece.buffer, bytes);
    if (found >= 0) return offset / search.elementBytes + found;
  }
  return -1;
}
