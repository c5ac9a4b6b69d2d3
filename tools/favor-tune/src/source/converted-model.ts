import { hashFile, openModel } from "@favor/onnx/node";
import type { OpenedModel } from "@favor/onnx/node";
import { checkVocabulary, loadTokenizer } from "@favor/measure/tokens";
import type { SequenceTokenizer } from "@favor/measure/tokens";
import { maximumTokens, openSource, readPooling } from "@favor/checkpoints/node";
import { readFavorFile } from "@favor/report";
import type { PoolingMode, Source } from "@favor/checkpoints/node";
import { ModelRunner, chooseMeasure, ordinaryIds, runnerOptions } from "@favor/measure";
import type { Feeding, Measure } from "@favor/measure";
import { longestInputOf } from "@favor/rewriter";
import type { FavorFile } from "@favor/report";

import { TuneInputError } from "../errors.ts";
import { companionsSha256 } from "./companions.ts";

/** A checked converted folder. */
export interface ConvertedModel {
  readonly source: Source;
  readonly favor: FavorFile;
  /** SHA-256 of the files copied along with the model, from `companionsSha256`. */
  readonly companions: string;
  /** The graph; its weights are still in the file. */
  readonly opened: OpenedModel;
  readonly tokenizer: SequenceTokenizer;
  /** The longest input in tokens, or undefined. */
  readonly maximumTokens: number | undefined;
  /** What the model is used for, and on which output that shows. */
  readonly measure: Measure;
  /** How the model is fed, as proved on it. */
  readonly feeding: Feeding;
  close(): void;
}

/**
 * Opens a folder that favor-convert or favor-tune wrote, and checks that its parts belong together.
 *
 * @param pooling - how embeddings are made, whatever the checkpoint says; undefined: as it says.
 * @throws {TuneInputError} `weights-mismatch` if the model is not the one that `favor.json` describes, `inputs-unknown`;
 * {InputError} `converted-malformed`, `tokenizer-missing`, `tokenizer-mismatch`, `config-malformed` (how the checkpoint
 * pools); {UsageError} `bad-arguments` for a pooling of a model without vectors of tokens.
 */
export async function openConverted(folder: string, pooling?: PoolingMode): Promise<ConvertedModel> {
  const found = await openSource(folder);
  const favor = await readFavorFile(found.folder);
  const { task } = favor.source;
  const source: Source = { ...found, ...(task !== undefined && { task }) };
  const sha256 = await hashFile(source.modelPath);
  if (sha256 !== favor.model.sha256) {
    throw new TuneInputError(
      `${source.modelPath} is not the model that its favor.json describes (sha256 ${sha256}, expected ` +
        `${favor.model.sha256}): its weights were replaced or changed. Convert the original again.`,
      { code: "weights-mismatch", details: { path: source.modelPath, sha256, expected: favor.model.sha256 } },
    );
  }
  const companions = await companionsSha256(source.folder);
  const tokenizer = await loadTokenizer(source.folder);
  checkVocabulary(tokenizer, source.config.vocab_size ?? undefined, source.folder);
  const opened = await openModel(source.modelPath);
  try {
    const { measure, feeding } = await measureOf(source, tokenizer, pooling);
    return {
      source,
      favor,
      companions,
      opened,
      tokenizer,
      // What the graph does not limit, such as rotary positions, the configuration does: the model was made for no more.
      maximumTokens: maximumTokens(source.config, longestInputOf(opened.model)) ?? maximumTokens(source.config),
      measure,
      feeding,
      close: opened.close,
    };
  } catch (error) {
    opened.close();
    throw error;
  }
}

async function measureOf(
  { modelPath, folder, config, task }: Source,
  tokenizer: SequenceTokenizer,
  chosen: PoolingMode | undefined,
): Promise<{ readonly measure: Measure; readonly feeding: Feeding }> {
  const pooling = await readPooling(folder, chosen);
  const runner = await ModelRunner.open(modelPath, { ...runnerOptions(config, tokenizer), threads: 1 });
  try {
    const { feeding } = runner;
    checkVocabulary(tokenizer, feeding.vocabulary, folder);
    const sequences = [{ ids: Array.from({ length: 4 }, () => ordinaryIds(tokenizer)[0] ?? 0) }];
    const known = { config, task, pooling, poolingIsChosen: chosen !== undefined, tokenizer, sequences };
    const measure = await chooseMeasure(runner, known);
    const { output } = measure;
    if (feeding.outputs.get(output) !== "length first") return { measure, feeding };
    throw new TuneInputError(
      `${folder}: the output "${output}" is [length, batch, ...]. Training needs [batch, length, ...]: export the model with ` +
        `the batch first.`,
      { code: "inputs-unknown", details: { name: output } },
    );
  } finally {
    await runner.close();
  }
}
