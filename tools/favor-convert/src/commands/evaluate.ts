import { availableParallelism } from "node:os";

import { compareModels } from "@favor/measure";
import { silent } from "@favor/checkpoints";
import type { Progress } from "@favor/checkpoints";
import type { Evaluation } from "@favor/measure";
import type { PoolingMode } from "@favor/checkpoints/node";
import { withOnnxFile } from "@favor/checkpoints/node";
import { openSource } from "@favor/checkpoints/node";
import { longestInputOfSource } from "./longest-input.ts";
import { longestSequence, windowsNote } from "./longest-sequence.ts";
import { checkVocabulary, loadSequences } from "@favor/measure/tokens";
import { loadTokenizer } from "@favor/measure/tokens";

export interface EvaluateRequest {
  /** The reference: a checkpoint folder or an `.onnx` file. Its tokenizer is used for all models. */
  readonly original: string;
  /** Converted folders or `.onnx` files. */
  readonly converted: readonly string[];
  /** Data file: FASTA, text, JSON, CSV, TSV or Parquet. */
  readonly data: string;
  /** JSON field, or CSV, TSV or Parquet column, with the text. Default: "text"; in files without it, "sequence". */
  readonly column?: string;
  /** Number of sequences to draw from the file; default 500. */
  readonly count?: number;
  /** Seed of the draw and the masks; default 0. */
  readonly seed?: number;
  /** The longest sequence, in tokens; longer ones give windows. Default: as long as the original reads. */
  readonly maxLength?: number;
  /** Take the beginnings of longer sequences instead of windows. */
  readonly truncate?: boolean;
  /** How an embedding is made of the vectors of a text's tokens. Default: as the original's checkpoint says. */
  readonly pooling?: PoolingMode;
  /** Threads of onnxruntime; default: one per core. */
  readonly threads?: number;
}

/**
 * Compares any number of converted models with their original on the same inputs; see {@link Evaluation}.
 *
 * @returns one evaluation per converted model, in that order.
 * @throws {InputError} for sources or data that cannot be read, and models that do not run.
 */
export async function evaluate(request: EvaluateRequest, progress: Progress = silent): Promise<Evaluation[]> {
  const source = await openSource(request.original, {}, progress);
  const converted: string[] = [];
  for (const path of request.converted) converted.push((await openSource(path)).modelPath);
  const tokenizer = await loadTokenizer(source.folder);
  checkVocabulary(tokenizer, source.config.vocab_size ?? undefined, source.folder);
  const loaded = await loadSequences(request.data, tokenizer, {
    count: request.count ?? 500,
    seed: request.seed ?? 0,
    ...longestSequence(source, await longestInputOfSource(source), request),
    column: request.column,
    withLongest: true,
  });
  for (const note of windowsNote("Evaluation data", loaded.use)) progress.note(note);
  const threads = request.threads ?? availableParallelism();
  const evaluations = await withOnnxFile(source, (original) =>
    compareModels(converted, { source, original, tokenizer, threads, pooling: request.pooling, ...loaded }, progress),
  );
  progress.end();
  return evaluations;
}
