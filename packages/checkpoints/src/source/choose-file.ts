import { posix } from "node:path";

import { InputError } from "../errors.ts";

/** The precisions of ONNX exports, with the suffix that transformers.js appends to a model's name for each. */
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

/** Weights that a graph can be built from, most preferred first. */
const weightFiles: readonly string[] = [
  "model.safetensors",
  "model.safetensors.index.json",
  "pytorch_model.bin",
  "pytorch_model.bin.index.json",
];

/** Which of a checkpoint's model files to use. */
export interface FileRequest {
  /** A file's path inside the checkpoint: `onnx/model_fp16.onnx`, `pytorch_model.bin`. */
  readonly file?: string | undefined;
  /** The precision of an ONNX export, as transformers.js names it. */
  readonly dtype?: ExportPrecision | undefined;
}

/** The file to use. */
export interface FileChoice {
  /** Its path inside the checkpoint. */
  readonly file: string;
  /** Why this one, to follow its name in a sentence: `the ONNX export`. */
  readonly why: string;
}

/** Why there is no file to use. */
export interface NoFile {
  /** `missing`: the checkpoint has no such file; `several`: nothing says which of its ONNX models is meant. */
  readonly problem: "missing" | "several";
  /** The paths that were looked for. */
  readonly wanted: readonly string[];
  /** Models that the checkpoint does have, readable or not, sorted. */
  readonly found: readonly string[];
}

/**
 * Chooses a checkpoint's model file. The same rules hold for a folder and for a repository on the Hub:
 *
 * 1. the requested file;
 * 2. with a precision, its ONNX export, in `onnx/` before the top folder;
 * 3. otherwise the export in float32 (`onnx/model.onnx`, `model.onnx`);
 * 4. weights: safetensors before PyTorch's format, one file before shards;
 * 5. the only other ONNX model in `onnx/` or the top folder, usually a quantised export. Several are ambiguous.
 *
 * @param paths - the checkpoint's files, relative to its folder, with forward slashes.
 */
export function chooseFile(paths: readonly string[], { file, dtype }: FileRequest = {}): FileChoice | NoFile {
  const first = (wanted: readonly string[]): string | undefined => wanted.find((path) => paths.includes(path));
  const missing = (wanted: readonly string[], pattern = modelFile): NoFile => ({
    problem: "missing",
    wanted,
    found: paths.filter((path) => pattern.test(path)).toSorted(),
  });
  if (file !== undefined) {
    const path = posix.normalize(file);
    return paths.includes(path) ? { file: path, why: "as requested" } : missing([path]);
  }
  const exports = ["onnx/", ""].map((folder) => `${folder}${exportName(dtype ?? "fp32")}`);
  const exported = first(exports);
  if (exported !== undefined) {
    return { file: exported, why: dtype === undefined ? "the ONNX export" : `the ONNX export in ${dtype}` };
  }
  if (dtype !== undefined) return missing(exports, /\.onnx$/);
  const weights = first(weightFiles);
  if (weights !== undefined) return { file: weights, why: "because there is no ONNX export in float32" };
  const models = paths.filter((path) => /^(onnx\/)?[^/]+\.onnx$/.test(path)).toSorted();
  if (models.length > 1) return { problem: "several", wanted: exports, found: models };
  const [only] = models;
  return only === undefined ? missing([...exports, ...weightFiles]) : { file: only, why: "the only ONNX model" };
}

/** What a model may be stored in, formats that Favor cannot read included. */
const modelFile = /\.(onnx|safetensors|bin|pt|pth|h5|msgpack|gguf|ckpt)$/;

/** Paths that a message lists before it only counts them. */
const listed = 8;

/** Says what a checkpoint has instead of the file, as one clause without its full stop. */
export function describeNoFile(checkpoint: string, { problem, wanted, found }: NoFile): string {
  const more = found.length > listed ? ` and ${found.length - listed} more` : "";
  const names = `${found.slice(0, listed).join(", ")}${more}`;
  if (problem === "several") {
    return `${checkpoint} holds ${found.length} ONNX models (${names}), and none of them is called model.onnx`;
  }
  const none = wanted.length === 1 ? `no file ${wanted[0]}` : `none of ${wanted.join(", ")}`;
  return `${checkpoint} has ${none}; it holds ${found.length === 0 ? "no model at all" : names}`;
}

/**
 * {@link chooseFile} for the tools, which take a file by `--file`.
 *
 * @param checkpoint - its folder or id, for the message.
 * @param otherwise - says what a checkpoint without a model is instead, in sentences.
 * @throws {InputError} `source-without-model`, `source-ambiguous`.
 */
export function requireFile(
  checkpoint: string,
  paths: readonly string[],
  request: FileRequest,
  otherwise: () => string | undefined = () => undefined,
): string {
  const choice = chooseFile(paths, request);
  if ("file" in choice) return choice.file;
  const isAmbiguous = choice.problem === "several";
  const advice = isAmbiguous
    ? "Choose one with --file."
    : (otherwise() ??
      "Favor reads .onnx, .safetensors, .bin, .pt and .pth files: choose one with --file, or give another checkpoint.");
  throw new InputError(`${describeNoFile(checkpoint, choice)}. ${advice}`, {
    code: isAmbiguous ? "source-ambiguous" : "source-without-model",
    details: { checkpoint, wanted: choice.wanted, found: choice.found },
  });
}
