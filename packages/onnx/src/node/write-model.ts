import { ArgumentError } from "@favor/core";
import { basename, dirname, join } from "node:path";
import { memoryRange } from "../model/byte-range.ts";
import type { ByteRange } from "../model/byte-range.ts";
import { encodeModelParts } from "../model/encode.ts";
import { ExternalDataError } from "../model/errors.ts";
import { externalLocation } from "../model/external-data.ts";
import { presentFields } from "../model/proto.ts";
import type { ModelProto, TensorProto } from "../model/proto.ts";
import { createMessage } from "../model/schema.ts";
import { modelGraphs, modelTensors } from "../model/walk.ts";
import { OutputFile } from "./output-file.ts";

/** Tensors of this many bytes or more start at a multiple of 64 KiB (which Windows can map), others of 4 KiB. */
const largeTensor = 1 << 20;
const largeAlignment = 1 << 16;
const smallAlignment = 1 << 12;
/** More bytes of weights in the file would leave no room for the graph under protobuf's limit of 2 GiB. */
const mostInFile = 2 ** 31 - 2 ** 26;

export interface WriteModelOptions {
  /**
   * "keep" (default): external tensors stay external, and the others stay in the model file. If those approach
   * protobuf's limit of 2 GiB, they become external too. "inline": everything goes into the model file. An object:
   * initializers of `threshold` bytes or more (default 1024) become external as well.
   */
  readonly externalData?: "keep" | "inline" | ExternalDataOptions;
  /** Whether to hash the files while writing them (`WrittenFile.sha256`). Default false. */
  readonly sha256?: boolean;
  /** Aborts the writing. Nothing is left behind. */
  readonly signal?: AbortSignal;
}

export interface ExternalDataOptions {
  /** in bytes; default 1024 */
  readonly threshold?: number;
  /** The name of the data file in the model's folder. Default: the model's name followed by "_data", as on the Hub. */
  readonly location?: string;
}

/** A file that was written. */
export interface WrittenFile {
  readonly path: string;
  /** in bytes */
  readonly length: number;
  /** in hexadecimal, if `WriteModelOptions.sha256` is set */
  readonly sha256?: string;
}

/**
 * Writes a model. The file appears under its name only once it is complete; on failure nothing is left behind.
 * Weights are copied piece by piece from where they are. All external tensors go into one new data file, and tensors
 * that shared a region still do. (If both files replace older ones, a crash between the two renames leaves the new data with the old
 * model. Write into a new folder if that matters.)
 *
 * Throws ModelFileError: "would-overwrite" (a file that is open as a model), "not-found" (no such folder), "no-space",
 * "read-only", "permission-denied", "not-a-file", "io-failed"; ModelFormatError "limit-exceeded" ("inline" at 2 GiB);
 * ExternalDataError if external data has not been attached; the reason of the signal.
 */
export async function writeModel(
  model: ModelProto,
  path: string,
  options: WriteModelOptions = {},
): Promise<{ model: WrittenFile; data: WrittenFile | undefined }> {
  const { externalData = "keep", sha256 = false, signal } = options;
  const external = externalTensors(model, externalData);
  const location = (typeof externalData === "object" ? externalData.location : undefined) ?? `${basename(path)}_data`;
  const files: OutputFile[] = [];
  try {
    const replaced = new Map<TensorProto, TensorProto>();
    if (external.length > 0) {
      const data = new OutputFile(join(dirname(path), location), { sha256 });
      // Readers will apply the same rules to the name.
      if (location.includes("/") || location === basename(path)) {
        throw new ArgumentError("location", "a file name without a folder, other than the model's", location);
      }
      externalLocation(externalTensor(external[0]!, location, 0, 0));
      files.push(data);
      await data.open();
      await writeData(external, data, location, replaced, signal);
      await data.finish();
    } else if (externalData === "inline") {
      for (const tensor of modelTensors(model))
        if (tensor.dataLocation === 1) replaced.set(tensor, inlineTensor(tensor));
    }
    const output = new OutputFile(path, { sha256 });
    files.push(output);
    await output.open();
    for (const part of encodeModelParts(model, { tensor: (tensor) => replaced.get(tensor) ?? tensor })) {
      await output.append(part, signal);
    }
    await output.finish();
    for (const file of files) await file.publish();
    const [data] = external.length > 0 ? files : [];
    return { model: written(output), data: data && written(data) };
  } catch (error) {
    for (const file of files) await file.discard();
    throw error;
  }
}

function written({ path, length, sha256 }: OutputFile): WrittenFile {
  return { path, length, ...(sha256 !== undefined && { sha256 }) };
}

/** The tensors to write as external data, in the order of the model. */
function externalTensors(model: ModelProto, option: "keep" | "inline" | ExternalDataOptions): TensorProto[] {
  if (option === "inline") return [];
  const tensors = modelTensors(model);
  const inFile = tensors.reduce((sum, tensor) => sum + (tensor.dataLocation === 1 ? 0 : heldBytes(tensor)), 0);
  const threshold = typeof option === "object" ? (option.threshold ?? 1024) : inFile > mostInFile ? 1024 : Infinity;
  // All runtimes accept external data for initializers, but only some accept it for tensors in attributes.
  const initializers = new Set(modelGraphs(model).flatMap((graph) => graph.initializer));
  return tensors.filter(
    (tensor) =>
      tensor.dataLocation === 1 ||
      (initializers.has(tensor) && heldBytes(tensor) > 0 && heldBytes(tensor) >= threshold),
  );
}

/** Length of values that are bytes already; 0 for values in arrays, which stay in the model file. */
function heldBytes(tensor: TensorProto): number {
  return tensor.source?.range.length ?? tensor.rawData.length;
}

async function writeData(
  tensors: readonly TensorProto[],
  file: OutputFile,
  location: string,
  replaced: Map<TensorProto, TensorProto>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const offsets = new Map<string, number>();
  for (const tensor of tensors) {
    const range = heldRange(tensor);
    const region = tensor.dataLocation === 1 ? regionKey(tensor, range) : undefined;
    let offset = region === undefined ? undefined : offsets.get(region);
    if (offset === undefined) {
      await file.align(range.length >= largeTensor ? largeAlignment : smallAlignment);
      offset = file.length;
      await file.append(range, signal);
      if (region !== undefined) offsets.set(region, offset);
    }
    replaced.set(tensor, externalTensor(tensor, location, offset, range.length));
  }
}

function heldRange(tensor: TensorProto): ByteRange {
  if (tensor.source !== undefined) return tensor.source.range;
  if (tensor.dataLocation !== 1) return memoryRange(tensor.rawData);
  const { location } = externalLocation(tensor);
  throw new ExternalDataError(tensor.name, location, "it has not been attached. Open the model with `openModel`.");
}

function regionKey(tensor: TensorProto, range: ByteRange): string {
  const { location, offset } = externalLocation(tensor);
  return JSON.stringify([location, offset, range.length]);
}

/** The tensor with its values in the data file. */
function externalTensor(tensor: TensorProto, location: string, offset: number, length: number): TensorProto {
  const { source: _, [presentFields]: __, ...rest } = tensor;
  const externalData = Object.entries({ location, offset, length }).map(([key, value]) =>
    createMessage("StringStringEntryProto", { key, value: String(value) }),
  );
  return { ...rest, rawData: new Uint8Array(0), externalData, dataLocation: 1 };
}

/** The tensor with its values in the model file. */
function inlineTensor(tensor: TensorProto): TensorProto {
  const { [presentFields]: _, ...rest } = tensor;
  return { ...rest, externalData: [], dataLocation: 0, source: { field: "rawData", range: heldRange(tensor) } };
}
