import { join } from "node:path";

import { InputError, messageOf } from "@favor/checkpoints";
import { readJson } from "@favor/checkpoints/node";
import { z } from "zod";

import { tokenizerFromFiles } from "./bare-vocabulary.ts";
import type { MadeTokenizer } from "./bare-vocabulary.ts";
import { runBounded } from "./bounded.ts";
import { checkSurroundings, withSettings } from "./settings-and-description.ts";
import { readTokenizerSettings } from "./special-tokens.ts";
import { TokenPipeline } from "./steps/pipeline.ts";
import { UnsupportedStep } from "./steps/step-error.ts";
import { SequenceTokenizer, tooSlow } from "./tokenizer.ts";

const tokenizerLimit = 256 * 1024 * 1024;

/** The longest time to build a tokenizer from its description, in milliseconds. */
const loadLimit = 60_000;

const descriptionSchema = z.looseObject({ model: z.looseObject({ vocab: z.unknown() }) });

/**
 * Loads the tokenizer of a checkpoint folder: from `tokenizer.json`, or else from `vocab.txt`, or from `vocab.json` and
 * `merges.txt`.
 *
 * @throws {InputError} `tokenizer-missing`; `tokenizer-malformed`; `tokenizer-unsupported` for a part that would not give
 * the ids of the library `tokenizers`; `tokenizer-ambiguous` for files that contradict each other; `tokenizer-too-slow`
 * (more than 60 s to load); `config-malformed`; `file-unreadable`.
 */
export async function loadTokenizer(folder: string): Promise<SequenceTokenizer> {
  const settings = await readTokenizerSettings(folder);
  const path = join(folder, "tokenizer.json");
  const description = await readJson(path, descriptionSchema, tokenizerLimit);
  const made: MadeTokenizer =
    description === undefined
      ? await tokenizerFromFiles(folder, settings)
      : { path, description: withSettings(description, settings, path), specialIds: [] };
  const file = { path: made.path, patterns: patternsIn(made.description), specialIds: made.specialIds };
  try {
    const loaded = runBounded(() => new TokenPipeline(made.description), loadLimit);
    if (loaded === undefined) throw tooSlow(file, `more than ${loadLimit / 1000} s to load`);
    const { surroundings, vocabulary } = loaded.result;
    if (description !== undefined) checkSurroundings(surroundings, settings, vocabulary, path);
    return new SequenceTokenizer(loaded.result, settings, file);
  } catch (error) {
    if (error instanceof InputError) throw error;
    if (error instanceof UnsupportedStep) {
      throw new InputError(
        `${made.path} has ${error.message}, for which Favor cannot promise the ids of the model's own tokenizer. Give the ` +
          `checkpoint's original tokenizer.json, or convert without --calibrate and --evaluate.`,
        { code: "tokenizer-unsupported", cause: error, details: { path: made.path, what: error.message } },
      );
    }
    throw new InputError(
      `${made.path} is not a readable tokenizer (${messageOf(error)}). Save the tokenizer again with ` +
        `tokenizer.save_pretrained(...) in a recent version of transformers.`,
      { code: "tokenizer-malformed", cause: error, details: { path: made.path } },
    );
  }
}

/** Every regular expression of a `tokenizer.json`, in its order; the vocabulary is not searched. */
function patternsIn(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(patternsIn);
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, each]) => {
    if (key === "vocab" || key === "merges") return [];
    return key === "Regex" && typeof each === "string" ? [each] : patternsIn(each);
  });
}
