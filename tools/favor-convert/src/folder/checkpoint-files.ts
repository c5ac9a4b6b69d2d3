import { stat } from "node:fs/promises";
import { join } from "node:path";

import { z } from "zod";

import { companions } from "../source/companions.ts";
import { maximumTokens, readJson } from "../source/config.ts";
import type { Source } from "../source/source.ts";
import type { OutputFolder } from "./output-folder.ts";

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
