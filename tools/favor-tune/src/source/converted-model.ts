import { hashFile, openModel } from "@favor/onnx/node";
import type { OpenedModel } from "@favor/onnx/node";
import { checkVocabulary, loadTokenizer } from "@favor/measure/tokens";
import type { SequenceTokenizer } from "@favor/measure/tokens";
import { maximumTokens, openSource } from "@favor/checkpoints/node";
import { readFavorFile } from "@favor/report";
import type { Source } from "@favor/checkpoints/node";
import { ModelRunner, mainOutput, runnerOptions } from "@favor/measure";
import type { Feeding } from "@favor/measure";
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
  /** Name of the logits output. */
  readonly logits: string;
  /** How the model is fed, as proved on it. */
  readonly feeding: Feeding;
  close(): void;
}

/**
 * Opens a folder that favor-convert or favor-tune wrote, and checks that its parts belong together.
 *
 * @throws {TuneInputError} `weights-mismatch` if the model is not the one that `favor.json` describes,
 * `not-masked-language`; {InputError} `converted-malformed`, `tokenizer-missing`, `tokenizer-mismatch`.
 */
export async function openConverted(folder: string): Promise<ConvertedModel> {
  const source = await openSource(folder);
  const favor = await readFavorFile(source.folder);
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
    const { logits, feeding } = await logitsOf(source, tokenizer);
    return {
      source,
      favor,
      companions,
      opened,
      tokenizer,
      maximumTokens: maximumTokens(source.config, longestInputOf(opened.model)),
      logits,
      feeding,
      close: opened.close,
    };
  } catch (error) {
    opened.close();
    throw error;
  }
}

async function logitsOf(
  { modelPath, folder, config }: Source,
  tokenizer: SequenceTokenizer,
): Promise<{ readonly logits: string; readonly feeding: Feeding }> {
  const runner = await ModelRunner.open(modelPath, { ...runnerOptions(config, tokenizer), threads: 1 });
  try {
    checkVocabulary(tokenizer, runner.feeding.vocabulary, folder);
    const ordinary = Array.from({ length: tokenizer.size }, (_, id) => id).find((id) => !tokenizer.specialIds.has(id));
    const ids = Array.from({ length: 4 }, () => ordinary ?? 0);
    const { name, isLogits } = await mainOutput(runner, ids, config.vocab_size ?? tokenizer.size);
    if (isLogits && tokenizer.maskId !== undefined) {
      if (runner.feeding.outputs.get(name) !== "length first") return { logits: name, feeding: runner.feeding };
      throw new TuneInputError(
        `${folder}: the output "${name}" is [length, batch, vocabulary]. Training needs logits [batch, length, vocabulary]: ` +
          `export the model with the batch first.`,
        { code: "inputs-unknown", details: { name } },
      );
    }
    const what = isLogits ? "its tokenizer has no mask token" : `it has no output [batch, length, ${tokenizer.size}]`;
    throw new TuneInputError(
      `${folder} is not a masked language model: ${what}. Tuning trains and measures on masked tokens: convert a ` +
        `checkpoint that still has its language-model head, tune it, and export the encoder from it.`,
      { code: "not-masked-language", details: { folder } },
    );
  } finally {
    await runner.close();
  }
}
