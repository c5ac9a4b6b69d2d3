import type { FileRequest } from "./choose-file.ts";
import type { ModelConfig } from "./config.ts";

/** Which of a checkpoint's files to use, and which version of a repository. */
export interface SourceOptions extends FileRequest {
  /** Branch, tag or commit at the Hub; default: main. */
  readonly revision?: string;
}

/** A checkpoint on disk: one ONNX file, or weights that a graph is built from, and the files around it. */
export interface Source {
  /** What people call it: the folder's name, or the repository's at the Hub. */
  readonly name: string;
  /** The commit that came from the Hub. */
  readonly revision?: string;
  /** The file, absolute: ONNX, or weights (`model.safetensors`, `pytorch_model.bin` or their index). */
  readonly modelPath: string;
  /** Where `config.json` and the tokenizer lie (or would lie), absolute. */
  readonly folder: string;
  /** The file as seen from `folder`, with forward slashes: `onnx/model.onnx`. */
  readonly modelName: string;
  readonly config: ModelConfig;
}
