import { join } from "node:path";

import { applyEdits, modify } from "jsonc-parser";
import { z } from "zod";

import { companions, findCompanions } from "../source/companions.ts";
import { firstPosition, positionKeys, readJson } from "../source/config.ts";
import { readSmallFile } from "../source/read-file.ts";
import type { Source } from "../source/located-source.ts";
import type { OutputFolder } from "./output-folder.ts";

/** A tokenizer.json of 250 000 tokens has 17 MB. */
const jsonLimit = 256 * 1024 * 1024;
const jsonObject = z.record(z.string(), z.unknown());
type JsonObject = z.infer<typeof jsonObject>;

/** What differs between the converted model and the source's configuration. */
export interface ConfigurationChanges {
  /** The longest input in tokens, if the position table was grown. */
  readonly maxLength?: number | undefined;
  /** Whether the model has external data, `onnx/model.onnx_data`. */
  readonly externalData?: boolean;
}

/**
 * Copies a checkpoint's configuration, tokenizer, licence, and the folders that its `modules.json` names. If the position
 * table was grown, the new length is written to `config.json` and wherever texts are cut to the old one: the tokenizer's
 * files and those of sentence-transformers. If `config.json` is wrong about external data, it is corrected for
 * transformers.js. Everything else stays exactly as it was written.
 *
 * @returns a note on each link that leads out of the checkpoint, and on each module that is not copied.
 */
export async function copyCompanions(
  source: Source,
  output: OutputFolder,
  { maxLength, externalData }: ConfigurationChanges = {},
): Promise<string[]> {
  const { own, elsewhere, refused } = await findCompanions(source.folder);
  for (const { name, path } of own) await output.copy(path, name);
  const isOwn = (name: string): boolean => own.some((companion) => companion.name === name);
  const setting = async (name: string, editsOf: (settings: JsonObject) => Edit[]): Promise<void> => {
    if (isOwn(name)) await edit(source, output, name, editsOf);
  };
  if (externalData !== undefined || maxLength !== undefined) {
    await setting("config.json", (settings) => [
      ...(externalData === undefined ? [] : externalDataEdits(settings, externalData)),
      ...(maxLength === undefined
        ? []
        : positionKeys.flatMap((key) => growthEdits(settings, key, maxLength + firstPosition(source.config)))),
    ]);
  }
  if (maxLength !== undefined) {
    await setting("tokenizer_config.json", (settings) => [
      ...growthEdits(settings, "model_max_length", maxLength),
      ...lengthEdits(settings, ["max_length"], maxLength),
    ]);
    await setting("tokenizer.json", (settings) => lengthEdits(settings, ["truncation", "max_length"], maxLength));
    for (const name of companions.filter((each) => /^sentence_.*_config\.json$/.test(each))) {
      await setting(name, (settings) => lengthEdits(settings, ["max_seq_length"], maxLength));
    }
  }
  return [
    ...elsewhere.map(
      (name) =>
        `${name} was not copied: it is a link that leads out of the checkpoint. Copy it yourself if it belongs there.`,
    ),
    ...refused.map(
      (what) => `modules.json names ${what}; it was not copied, so sentence-transformers cannot load the output.`,
    ),
  ];
}

/** A value to set, and the keys that lead to it. */
interface Edit {
  readonly path: string[];
  readonly value: unknown;
}

function growthEdits(settings: JsonObject, key: string, value: number): Edit[] {
  return key in settings ? [{ path: [key], value }] : [];
}

/** Sets a length, if there is a number already: none, or null, leaves it to the other files. */
function lengthEdits(settings: JsonObject, path: string[], value: number): Edit[] {
  let found: unknown = settings;
  for (const key of path) found = jsonObject.safeParse(found).data?.[key];
  return typeof found === "number" ? [{ path, value }] : [];
}

/** The section of `config.json` that transformers.js reads. */
const section = "transformers.js_config";
const format = "use_external_data_format";

/** transformers.js loads `model.onnx_data` only if `config.json` says so. */
function externalDataEdits(settings: JsonObject, present: boolean): Edit[] {
  const found = jsonObject.safeParse(settings[section]);
  if (externalFilesIn(found.data?.[format]) === (present ? 1 : 0)) return [];
  return [
    found.success ? { path: [section, format], value: present } : { path: [section], value: { [format]: present } },
  ];
}

/** How many data files transformers.js would load: `true` means one. The setting may also be given per model. */
function externalFilesIn(setting: unknown): number {
  const byName = jsonObject.safeParse(setting);
  return Number((byName.success ? (byName.data["model.onnx"] ?? byName.data["model"]) : setting) ?? 0);
}

/** Edits the text in place. Rewriting the file would turn 1.0 into 1, which Python reads as an int. */
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
