import { join } from "node:path";

import { z } from "zod";

import { InputError, messageOf } from "../errors.ts";
import { readSmallFile } from "./read-file.ts";

const count = z.int().positive();

/** What we use of a checkpoint's `config.json`. */
export interface ModelConfig {
  readonly model_type?: string | null | undefined;
  readonly vocab_size?: number | null | undefined;
  readonly num_hidden_layers?: number | null | undefined;
  readonly num_attention_heads?: number | null | undefined;
  readonly max_position_embeddings?: number | null | undefined;
  readonly position_embedding_type?: string | null | undefined;
  readonly pad_token_id?: number | null | undefined;
}

const configSchema: z.ZodType<ModelConfig> = z.object({
  model_type: z.string().nullish(),
  vocab_size: count.nullish(),
  num_hidden_layers: count.nullish(),
  num_attention_heads: count.nullish(),
  max_position_embeddings: z.int().nullish(),
  position_embedding_type: z.string().nullish(),
  pad_token_id: z.int().nullish(),
});

const configLimit = 4 * 1024 * 1024;

/**
 * Parses a JSON file of the checkpoint against a schema.
 *
 * @returns the parsed value, or `undefined` if there is no such file.
 * @throws {InputError} `config-malformed`, and what {@link readSmallFile} throws.
 */
export async function readJson<T>(path: string, schema: z.ZodType<T>, limit: number): Promise<T | undefined> {
  const bytes = await readSmallFile(path, limit);
  if (bytes === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new InputError(
      `${path} is not JSON (${messageOf(error)}). Put the checkpoint's original file in its place; a file that ` +
        `begins with "version https://git-lfs" is a pointer, to be replaced by \`git lfs pull\`.`,
      { code: "config-malformed", cause: error, details: { path } },
    );
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.join(".") ?? "";
  throw new InputError(
    `${path}: ${where === "" ? "the file" : `"${where}"`} is not as expected (${issue?.message ?? "unknown"}). ` +
      `Put the checkpoint's original file in its place.`,
    { code: "config-malformed", cause: parsed.error, details: { path, field: where } },
  );
}

/** The `config.json` of a checkpoint folder; empty if there is none. */
export async function readConfig(folder: string): Promise<ModelConfig> {
  return (await readJson(join(folder, "config.json"), configSchema, configLimit)) ?? {};
}

/** Model types whose position ids begin after the padding id (RoBERTa's way), so that the table holds fewer tokens. */
const positionsAfterPadding = new Set([
  "roberta",
  "xlm-roberta",
  "xlm-roberta-xl",
  "camembert",
  "roberta-prelayernorm",
  "esm",
  "longformer",
  "mpnet",
  "data2vec-text",
]);

/**
 * The longest input, in tokens, that the checkpoint's position table takes; `undefined` where the configuration sets
 * no bound (rotary and relative positions, or no configuration).
 */
export function maximumTokens(config: ModelConfig): number | undefined {
  const rows = config.max_position_embeddings;
  if (rows === undefined || rows === null || rows <= 0) return undefined;
  if (config.position_embedding_type === "rotary") return undefined;
  if (!positionsAfterPadding.has(config.model_type ?? "")) return rows;
  return rows - (config.pad_token_id ?? 1) - 1;
}
