import { existsSync } from "node:fs";
import { join, posix } from "node:path";

import { z } from "zod";

import { InputError } from "../errors.ts";
import { whyNotJson } from "../formats/json.ts";
import { readSmallFile } from "./read-file.ts";

const count = z.int().positive();

/** The fields of a checkpoint's `config.json` that we use. */
export interface ModelConfig {
  readonly model_type?: string | null | undefined;
  readonly vocab_size?: number | null | undefined;
  readonly num_hidden_layers?: number | null | undefined;
  readonly num_attention_heads?: number | null | undefined;
  readonly max_position_embeddings?: number | null | undefined;
  /** GPT-2's name for `max_position_embeddings`, and GPT-J's, CodeGen's and CTRL's. */
  readonly n_positions?: number | null | undefined;
  readonly type_vocab_size?: number | null | undefined;
  readonly position_embedding_type?: string | null | undefined;
  readonly pad_token_id?: number | null | undefined;
  /** The names of its classes in transformers. */
  readonly architectures?: readonly string[] | null | undefined;
  /** What the numbers of a classifier's head are: `regression`, `single_label_classification` or `multi_label_classification`. */
  readonly problem_type?: string | null | undefined;
}

const configSchema: z.ZodType<ModelConfig> = z.object({
  model_type: z.string().nullish(),
  vocab_size: count.nullish(),
  num_hidden_layers: count.nullish(),
  num_attention_heads: count.nullish(),
  max_position_embeddings: z.int().nullish(),
  n_positions: z.int().nullish(),
  type_vocab_size: z.int().nullish(),
  position_embedding_type: z.string().nullish(),
  pad_token_id: z.int().nullish(),
  architectures: z.array(z.string()).nullish(),
  problem_type: z.string().nullish(),
});

const configLimit = 4 * 1024 * 1024;

/**
 * Reads a JSON file of a checkpoint and validates it against a schema.
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
    throw new InputError(`${path} ${whyNotJson(bytes, error)}`, {
      code: "config-malformed",
      cause: error,
      details: { path },
    });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.join(".") ?? "";
  throw new InputError(
    `${path}: ${where === "" ? "the file" : `"${where}"`} is not as expected (${issue?.message ?? "unknown"}). ` +
      `Restore the checkpoint's original file.`,
    { code: "config-malformed", cause: parsed.error, details: { path, field: where } },
  );
}

/** Reads the `config.json` for a model's file in a checkpoint folder; empty if there is none. */
export async function readConfig(folder: string, modelName: string): Promise<ModelConfig> {
  return (await readJson(join(folder, configName(folder, modelName)), configSchema, configLimit)) ?? {};
}

/**
 * The name of the configuration for a model's file: `config.json` of the checkpoint, or, for weights in a folder of their
 * own, the one in that folder if it has one: it is another model's.
 */
export function configName(folder: string, modelName: string): string {
  const own = posix.join(posix.dirname(modelName), "config.json");
  return !modelName.endsWith(".onnx") && existsSync(join(folder, own)) ? own : "config.json";
}

/** Model types whose position ids begin after the padding id, as RoBERTa's do: their tables hold fewer tokens. */
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

/** Rows of the position table before that of the first token: RoBERTa and its like count from behind the padding id. */
export function firstPosition(config: ModelConfig): number {
  return positionsAfterPadding.has(config.model_type ?? "") ? (config.pad_token_id ?? 1) + 1 : 0;
}

/** The keys of `config.json` that hold the rows of the position table, by the names of all model types. */
export const positionKeys = ["max_position_embeddings", "n_positions", "n_ctx"] as const;

/**
 * The longest input of a model in tokens; `undefined` if there is no limit.
 *
 * @param longest - what the graph's position tables hold, from `longestInputOf` of `@favor/rewriter`. Only where the graph
 * does not show it does the configuration count.
 */
export function maximumTokens(
  config: ModelConfig,
  longest: number | "unlimited" | "unknown" = "unknown",
): number | undefined {
  if (longest !== "unknown") return longest === "unlimited" ? undefined : longest;
  const rows = config.max_position_embeddings ?? config.n_positions;
  if (rows === undefined || rows === null || rows <= 0) return undefined;
  if (config.position_embedding_type === "rotary") return undefined;
  return rows - firstPosition(config);
}
