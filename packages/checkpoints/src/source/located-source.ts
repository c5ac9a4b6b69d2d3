import type { CheckpointTask } from "../builders/task.ts";
import type { FileRequest } from "./choose-file.ts";
import type { ModelConfig } from "./config.ts";

/** Which of a checkpoint's files to use, and which version of a repository. */
export interface SourceOptions extends FileRequest {
  /** Branch, tag or commit on the Hub; default: main. */
  readonly revision?: string;
  /** The head of the graph that is built from weights. Default: as `buildModel` decides. */
  readonly task?: CheckpointTask;
}

/** A checkpoint on disk: an ONNX file, or weights to build a graph from, with its configuration and tokenizer. */
export interface Source {
  /** The name of the folder, or of the repository on the Hub. */
  readonly name: string;
  /** The commit, if the checkpoint comes from the Hub. */
  readonly revision?: string;
  /** Absolute path of the model: ONNX, or weights (`model.safetensors`, `pytorch_model.bin` or their index). */
  readonly modelPath: string;
  /** Absolute path of the folder for `config.json` and the tokenizer. */
  readonly folder: string;
  /** Path of the model relative to `folder`, with forward slashes: `onnx/model.onnx`. */
  readonly modelName: string;
  readonly config: ModelConfig;
  /** The head that was asked for, of a graph that is built from weights. */
  readonly task?: CheckpointTask;
}
