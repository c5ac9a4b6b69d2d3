import { existsSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { attachExternalData, createMessage, decodeModel, externalDataFromMemory, type ModelProto } from "@favor/onnx";
import { decodeTensor, type Tensor } from "@favor/onnx/evaluate";
import Long from "long";
import { coreZoo, sharedZoo, type ZooFolder } from "@favor/test-support/zoo/folder";
import type { ZooEntry } from "@favor/test-support/zoo/manifest";
import { readNpz, type NpyArray } from "@favor/test-support/zoo/npz";

export { coreZoo, sharedZoo, type ZooFolder };

/** What `favor-convert` would convert. */
export const isConvertible = (entry: ZooEntry): boolean => entry.verdict.startsWith("convert");

/** The model of an entry, its external data attached. */
export function readModel(folder: ZooFolder, entry: ZooEntry): ModelProto {
  const path = folder.path(entry.model);
  const model = decodeModel(new Uint8Array(readFileSync(path)));
  const data = `${path}.data`;
  if (existsSync(data)) {
    const files = new Map([[basename(data), new Uint8Array(readFileSync(data))]]);
    attachExternalData(model, externalDataFromMemory(files));
  }
  return model;
}

/** One sample of an entry: inputs, and the outputs that the framework gave. */
export interface ZooSample {
  readonly feeds: Readonly<Record<string, Tensor>>;
  readonly expected: ReadonlyMap<string, Tensor>;
  /** Which positions are real tokens, [batch, length]; undefined without an attention mask. */
  readonly mask: Tensor | undefined;
}

export function readSample(folder: ZooFolder, file: string): ZooSample {
  const arrays = [...readNpz(new Uint8Array(readFileSync(folder.path(file))))];
  const named = (prefix: string): [string, Tensor][] =>
    arrays.flatMap(([name, array]): [string, Tensor][] =>
      name.startsWith(prefix) ? [[name.slice(prefix.length), tensorOfNpy(array)]] : [],
    );
  const feeds = Object.fromEntries(named("in."));
  return { feeds, expected: new Map(named("out.")), mask: feeds["attention_mask"] };
}

function tensorOfNpy({ dims, dataType, bytes }: NpyArray): Tensor {
  const sizes = dims.map((dim) => Long.fromNumber(dim));
  return decodeTensor(createMessage("TensorProto", { dims: sizes, dataType, rawData: bytes }));
}

export interface Found {
  readonly dims: readonly number[];
  readonly values: ArrayLike<number>;
}

/**
 * Largest difference of an output from the expected one; at unpadded positions where it has the mask's positions.
 * Infinity for another shape, or a NaN on one side.
 */
export function validDifference(found: Found, expected: Tensor, mask: Tensor | undefined): number {
  if (found.dims.join() !== expected.dims.join()) return Infinity;
  const perPosition = mask !== undefined && mask.dims.every((dim, axis) => expected.dims[axis] === dim);
  const width = perPosition ? expected.data.length / mask.data.length : 1;
  let worst = 0;
  for (let i = 0; i < expected.data.length; i++) {
    if (perPosition && mask.data[Math.floor(i / width)] === 0) continue;
    const difference = Math.abs(found.values[i]! - expected.data[i]!);
    worst = Number.isNaN(difference) ? Infinity : Math.max(worst, difference);
  }
  return worst;
}
