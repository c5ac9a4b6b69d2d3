import { stat } from "node:fs/promises";
import { join } from "node:path";

import { z } from "zod";

import { readJson } from "../source/config.ts";
import { maximumTokens } from "../source/config.ts";
import type { Source } from "../source/source.ts";
import type { OutputFolder } from "./output-folder.ts";

/** The files around a model that are copied if they are there. No other file is, whatever a configuration names. */
export const companions: readonly string[] = [
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.txt",
  "vocab.json",
  "merges.txt",
  "spiece.model",
  "sentencepiece.bpe.model",
  "tokenizer.model",
  "preprocessor_config.json",
  "modules.json",
  "sentence_bert_config.json",
  "config_sentence_transformers.json",
  "1_Pooling/config.json",
  "LICENSE",
  "LICENSE.txt",
  "LICENSE.md",
  "NOTICE",
];

const jsonLimit = 16 * 1024 * 1024;
const jsonObject = z.record(z.string(), z.unknown());

/**
 * Copies a checkpoint's configuration, tokenizer and licence. Where the position table was grown, `config.json` and
 * `tokenizer_config.json` say the new length.
 *
 * @param maxLength - the new longest input in tokens, or undefined.
 */
export async function copyCompanions(
  source: Source,
  output: OutputFolder,
  maxLength: number | undefined,
): Promise<void> {
  for (const name of companions) {
    const from = join(source.folder, name);
    const found = await stat(from).catch(() => undefined);
    if (found?.isFile() === true) await output.copy(from, name);
  }
  if (maxLength === undefined) return;
  const rows = source.config.max_position_embeddings ?? maxLength;
  const reserved = rows - (maximumTokens(source.config) ?? rows);
  await edit(source, output, "config.json", "max_position_embeddings", maxLength + reserved);
  await edit(source, output, "tokenizer_config.json", "model_max_length", maxLength);
}

async function edit(source: Source, output: OutputFolder, name: string, key: string, value: number): Promise<void> {
  const settings = await readJson(join(source.folder, name), jsonObject, jsonLimit);
  if (settings === undefined || !(key in settings)) return;
  await output.write(name, `${JSON.stringify({ ...settings, [key]: value }, undefined, 2)}\n`);
}
