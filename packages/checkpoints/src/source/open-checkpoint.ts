import fs from "node:fs";
import { join } from "node:path";
import { buildModel, checkpointTask } from "../builders/build-model.ts";
import type { CheckpointTask } from "../builders/task.ts";
import { CheckpointError } from "../formats/errors.ts";
import { parseJson } from "../formats/json.ts";
import { readPyTorch } from "../formats/pytorch.ts";
import { readSafetensors } from "../formats/safetensors.ts";
import { readShards } from "../formats/shards.ts";
import type { StateDict } from "../formats/state-dict.ts";
import { readRange } from "@favor/onnx";
import type { ModelProto } from "@favor/onnx";
import { fileError } from "@favor/onnx/node";
import { InputFile } from "@favor/onnx/node";
import { openModel } from "@favor/onnx/node";

/** The precisions of ONNX exports, and what transformers.js puts behind a model's name for each. */
const suffixes = {
  fp32: "",
  fp16: "_fp16",
  q8: "_quantized",
  int8: "_int8",
  uint8: "_uint8",
  q4: "_q4",
  q4f16: "_q4f16",
  bnb4: "_bnb4",
} as const;

export type ExportPrecision = keyof typeof suffixes;

/** The name that transformers.js gives a model's export: `model_fp16.onnx`. */
export function exportName(precision: ExportPrecision): string {
  return `model${suffixes[precision]}.onnx`;
}

/** Weights, in the order in which they are preferred. */
const weightFiles = [
  "model.safetensors",
  "model.safetensors.index.json",
  "pytorch_model.bin",
  "pytorch_model.bin.index.json",
];
const jsonLimit = 1 << 26;

export interface OpenCheckpointOptions {
  /** The file to open, as seen from the folder: "onnx/model_fp16.onnx", "pytorch_model.bin". Default: see there. */
  readonly file?: string;
  /** The precision of the ONNX export to open. Default: float32 of whatever there is. */
  readonly dtype?: ExportPrecision;
  /** The head of a graph that is built. Default: as {@link buildModel} decides. */
  readonly task?: CheckpointTask;
  /** Passed on to {@link buildModel}. */
  readonly ignoreUnexpected?: boolean;
}

/** A checkpoint's graph, its weights still in their files. */
export interface OpenedCheckpoint {
  readonly model: ModelProto;
  /** The file that was chosen, as seen from the folder. */
  readonly source: string;
  /** A sentence for people: what was chosen, and why. */
  readonly choice: string;
  /** What the graph was built for; undefined for an ONNX export, which is as it is. */
  readonly task: CheckpointTask | undefined;
  /** Closes the files. Values that were not read by then can no longer be. */
  close(): void;
}

/**
 * Opens a checkpoint folder as the Hub has them, whatever its author left in it: an ONNX export (`onnx/model.onnx` or
 * `model.onnx`, external data beside it), else `model.safetensors`, else `pytorch_model.bin`, each also in several
 * files by an index. From weights and `config.json` the graph is built. Close the checkpoint when done.
 *
 * @throws CheckpointError "checkpoint-not-found" saying what is there; and what `openModel`, `readSafetensors`,
 *   `readPyTorch`, `readShards` and `buildModel` throw
 */
export async function openCheckpoint(folder: string, options: OpenCheckpointOptions = {}): Promise<OpenedCheckpoint> {
  const { source, why } =
    options.file === undefined ? choose(folder, options.dtype) : { source: options.file, why: "" };
  const because = why === "" ? "as you asked" : why;
  if (source.endsWith(".onnx")) {
    const { model, close } = await openModel(join(folder, source));
    return { model, source, choice: `${source}, ${because}`, task: undefined, close };
  }
  const opened: InputFile[] = [];
  const open = (name: string): InputFile => {
    const file = new InputFile(join(folder, name));
    opened.push(file);
    return file;
  };
  const close = (): void => {
    for (const file of opened) file.close();
  };
  try {
    const weights = readWeights(source, open);
    const config = readJson("config.json", open);
    const task = options.task ?? checkpointTask(config, weights);
    const model = buildModel(config, weights, { task, ignoreUnexpected: options.ignoreUnexpected ?? false });
    return { model, source, choice: `${source}, ${because}; the graph was built for ${task}`, task, close };
  } catch (error) {
    close();
    throw error;
  }
}

function readWeights(source: string, open: (name: string) => InputFile): StateDict {
  if (source.endsWith(".safetensors")) return readSafetensors(open(source), source);
  if (/\.(bin|pt|pth)$/.test(source)) return readPyTorch(open(source), source);
  if (!source.endsWith(".index.json")) {
    throw new CheckpointError(
      "unsupported-format",
      `${source} is not a file that can be read: its name must end in .onnx, .safetensors, .bin, .pt, .pth or .index.json.`,
      { file: source },
    );
  }
  return readShards(readJson(source, open), open, (range, name) =>
    name.endsWith(".safetensors") ? readSafetensors(range, name) : readPyTorch(range, name),
  );
}

function readJson(name: string, open: (name: string) => InputFile): unknown {
  const file = open(name);
  if (file.length > jsonLimit) {
    throw new CheckpointError("limit-exceeded", `${name} has ${file.length} bytes, more than ${jsonLimit}.`);
  }
  return parseJson(readRange(file), name);
}

function choose(folder: string, dtype: ExportPrecision | undefined): { source: string; why: string } {
  const files = [...list(folder, ""), ...list(folder, "onnx")];
  const exported = (precision: ExportPrecision): string | undefined =>
    ["onnx/", ""].map((parent) => `${parent}${exportName(precision)}`).find((name) => files.includes(name));
  const onnx = files.filter((name) => name.endsWith(".onnx"));
  if (dtype !== undefined) {
    const source = exported(dtype);
    if (source !== undefined) return { source, why: `the ONNX export in ${dtype}` };
    throw notFound(folder, `no ONNX export in ${dtype} (${exportName(dtype)})`, onnx);
  }
  const whole = exported("fp32");
  if (whole !== undefined) return { source: whole, why: "the ONNX export" };
  const weights = weightFiles.find((name) => files.includes(name));
  if (weights !== undefined) return { source: weights, why: "since there is no ONNX export in float32" };
  const [only] = onnx;
  if (only !== undefined && onnx.length === 1) return { source: only, why: "the only ONNX model there is" };
  if (only !== undefined) throw notFound(folder, "several ONNX models, none called model.onnx: choose one", onnx);
  const others = files.filter((name) => /\.(safetensors|bin|pt|pth|h5|msgpack|gguf|ckpt)$/.test(name));
  throw notFound(folder, `neither an ONNX model nor ${weightFiles.join(", ")}`, others);
}

/** The names in `folder`/`within`, as seen from `folder`; none where there is no such folder within it. */
function list(folder: string, within: string): string[] {
  try {
    return fs.readdirSync(join(folder, within)).map((name) => (within === "" ? name : `${within}/${name}`));
  } catch (cause) {
    if (within !== "") return [];
    throw fileError("read", folder, cause);
  }
}

function notFound(folder: string, what: string, found: readonly string[]): CheckpointError {
  const there = found.length === 0 ? "nothing of the kind" : found.join(", ");
  return new CheckpointError("checkpoint-not-found", `${JSON.stringify(folder)} holds ${what}. There is: ${there}.`, {
    folder,
    found,
  });
}
