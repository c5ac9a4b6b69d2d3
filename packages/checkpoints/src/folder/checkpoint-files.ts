import { stat } from "node:fs/promises";
import { join } from "node:path";

import { applyEdits, modify } from "jsonc-parser";
import { z } from "zod";

import { companions } from "../source/companions.ts";
import { maximumTokens, readJson } from "../source/config.ts";
import { readSmallFile } from "../source/read-file.ts";
import type { Source } from "../source/located-source.ts";
import type { OutputFolder } from "./output-folder.ts";

const jsonLimit = 16 * 1024 * 1024;
const jsonObject = z.record(z.string(), z.unknown());
type JsonObject = z.infer<typeof jsonObject>;

/** What the converted model has that the source's configuration does not say. */
export interface ConfigurationChanges {
  /** The new longest input in tokens, where the position table was grown. */
  readonly maxLength?: number | undefined;
  /** Whether `onnx/model.onnx_data` lies beside the model. */
  readonly externalData?: boolean;
}

/**
 * Copies a checkpoint's configuration, tokenizer and licence. Where the position table was grown, `config.json` and
 * `tokenizer_config.json` say the new length; where external data are beside the model and transformers.js would not
 * know, or are not and it would ask for them, `config.json` says that. Everything else in them stays as it is written.
 */
export async function copyCompanions(
  source: Source,
  output: OutputFolder,
  { maxLength, externalData }: ConfigurationChanges = {},
): Promise<void> {
  for (const name of companions) {
    const from = join(source.folder, name);
    const found = await stat(from).catch(() => undefined);
    if (found?.isFile() === true) await output.copy(from, name);
  }
  if (externalData === undefined && maxLength === undefined) return;
  await edit(source, output, "config.json", (settings) => [
    ...(externalData === undefined ? [] : externalDataEdits(settings, externalData)),
    ...(maxLength === undefined ? [] : growthEdits(settings, "max_position_embeddings", rowsFor(source, maxLength))),
  ]);
  if (maxLength === undefined) return;
  await edit(source, output, "tokenizer_config.json", (settings) =>
    growthEdits(settings, "model_max_length", maxLength),
  );
}

/** A value to be set, and the keys that lead to it. */
interface Edit {
  readonly path: string[];
  readonly value: unknown;
}

/** Rows of a position table for that many tokens: some types keep rows for themselves. */
function rowsFor({ config }: Source, maxLength: number): number {
  const rows = config.max_position_embeddings ?? maxLength;
  return maxLength + rows - (maximumTokens(config) ?? rows);
}

function growthEdits(settings: JsonObject, key: string, value: number): Edit[] {
  return key in settings ? [{ path: [key], value }] : [];
}

/** The section of `config.json` that transformers.js reads. */
const section = "transformers.js_config";
const format = "use_external_data_format";

/** transformers.js asks for `model.onnx_data` where `config.json` says so, and nowhere else. */
function externalDataEdits(settings: JsonObject, present: boolean): Edit[] {
  const found = jsonObject.safeParse(settings[section]);
  if (externalFilesIn(found.data?.[format]) === (present ? 1 : 0)) return [];
  return [
    found.success ? { path: [section, format], value: present } : { path: [section], value: { [format]: present } },
  ];
}

/** How many data files transformers.js would ask for: true is one; or a number; or either, by the model's name. */
function externalFilesIn(setting: unknown): number {
  const byName = jsonObject.safeParse(setting);
  return Number((byName.success ? (byName.data["model.onnx"] ?? byName.data["model"]) : setting) ?? 0);
}

/** Edits the text, since a number written anew would lose its form: 1.0 would become 1, which Python reads as an int. */
async function edit(
  source: Source,
  output: OutputFolder,
  name: string,
  editsOf: (settings: JsonObject) => Edit[],
): Promise<void> {
  const path = join(source.folder, name);
  const settings = await readJson(path, jsonObject, jsonLimit);
  const bytes = await readSmallFile(path, jsonLimit);
  if (settings === undefined || bytes === undefined) return;
  const edits = editsOf(settings);
  if (edits.length === 0) return;
  let text = new TextDecoder().decode(bytes);
  for (const { path: keys, value } of edits) text = applyEdits(text, modify(text, keys, value, { formattingOptions }));
  await output.write(name, text);
}

const formattingOptions = { insertSpaces: true, tabSize: 2, eol: "\n" };
