import { join } from "node:path";

import { readJson, readSmallFile } from "@favor/checkpoints/node";
import type { Source } from "@favor/checkpoints/node";
import { elementType, modelTensors, rawLength, tensorShape } from "@favor/onnx";
import type { ModelProto, ValueInfoProto } from "@favor/onnx";
import type { CardFacts } from "@favor/report";
import { z } from "zod";

const jsonLimit = 256 * 1024 * 1024;
const textLimit = 1024 * 1024;

/**
 * Gathers what the model card of a conversion says from the checkpoint's own files and from both graphs. Nothing is
 * guessed: what the files do not say is absent.
 *
 * @param isMasked - whether the model was measured as a masked language model.
 */
export async function cardFacts(
  source: Source,
  original: ModelProto,
  converted: ModelProto,
  isMasked: boolean,
): Promise<CardFacts> {
  const { graph } = converted;
  const weights = { before: weightBytes(original), after: weightBytes(converted) };
  const inputs = graph.input.map((input) => ({ name: input.name, type: typeOf(input) }));
  const outputs = graph.output.map(({ name }) => name);
  const [config, tokenizer] = [await jsonOf(source, "config.json", configSchema), await tokenizerOf(source)];
  const license = await licenseOf(source);
  const repository = repositoryOf(source);
  const pipeline = await pipelineOf(source, outputs, config, isMasked);
  const isText = pipeline !== undefined && pipelinesOfTransformersJs.has(pipeline);
  return {
    ...(repository !== undefined && { repository }),
    ...(license !== undefined && { license }),
    ...(pipeline !== undefined && { pipeline }),
    inputs,
    outputs,
    ...(tokenizer !== undefined && { example: tokenizer }),
    ...(isText && tokenizer !== undefined && typeof config?.model_type === "string" && { transformersJs: true }),
    weights,
  };
}

/** Bytes of all weights of a model, wherever they lie. */
export function weightBytes(model: ModelProto): number {
  let bytes = 0;
  for (const tensor of modelTensors(model)) {
    const type = elementType(tensor.dataType);
    if (type !== undefined) bytes += rawLength(type, tensorShape(tensor).count);
  }
  return bytes;
}

function typeOf(input: ValueInfoProto): string {
  const type = input.type?.tensorType?.elemType;
  return (type === undefined ? undefined : elementType(type)?.name) ?? "unknown";
}

/** The repository of a checkpoint of the Hub, also if it is given as a folder of the Hub's cache. */
function repositoryOf({ name, revision }: Source): string | undefined {
  // The name of a folder has no slash.
  return revision !== undefined || name.includes("/") ? name : undefined;
}

const configSchema = z.looseObject({ architectures: z.array(z.string()).nullish(), model_type: z.string().nullish() });

/** The file's contents if they have this form. A model card does without a file that has not: others report it. */
async function jsonOf<T>({ folder }: Source, name: string, schema: z.ZodType<T>): Promise<T | undefined> {
  return readJson(join(folder, name), schema, jsonLimit).catch(() => undefined);
}

/** Tasks by the end of the architecture's name, for models that have logits. */
const pipelines: readonly (readonly [RegExp, string])[] = [
  [/For(MaskedLM|PreTraining)$/, "fill-mask"],
  [/(ForCausalLM|LMHeadModel)$/, "text-generation"],
  [/ForSequenceClassification$/, "text-classification"],
  [/ForTokenClassification$/, "token-classification"],
  [/ForImageClassification$/, "image-classification"],
];

const pipelinesOfTransformersJs: ReadonlySet<string> = new Set([
  "fill-mask",
  "feature-extraction",
  "sentence-similarity",
  "text-classification",
  "token-classification",
]);

async function pipelineOf(
  source: Source,
  outputs: readonly string[],
  config: z.infer<typeof configSchema> | undefined,
  isMasked: boolean,
): Promise<string | undefined> {
  if (isMasked) return "fill-mask";
  if (!outputs.includes("logits")) {
    if (!outputs.includes("last_hidden_state")) return undefined;
    const modules = await readSmallFile(join(source.folder, "modules.json"), textLimit).catch(() => undefined);
    return modules === undefined ? "feature-extraction" : "sentence-similarity";
  }
  if (source.task !== undefined) return source.task;
  const [architecture = ""] = config?.architectures ?? [];
  return pipelines.find(([pattern]) => pattern.test(architecture))?.[1];
}

const tokenizerSchema = z.looseObject({
  added_tokens: z.array(z.looseObject({ content: z.string() })).nullish(),
  model: z.looseObject({ vocab: z.union([z.record(z.string(), z.unknown()), z.array(z.unknown())]).nullish() }),
});
const settingsSchema = z.looseObject({
  mask_token: z.union([z.string(), z.looseObject({ content: z.string() })]).nullish(),
});

/** Vocabularies of residues have about 30 tokens. */
const mostResidueTokens = 100;

async function tokenizerOf(source: Source): Promise<CardFacts["example"] | undefined> {
  const tokenizer = await jsonOf(source, "tokenizer.json", tokenizerSchema);
  if (tokenizer === undefined) return undefined;
  const { mask_token: named } = (await jsonOf(source, "tokenizer_config.json", settingsSchema)) ?? {};
  const added = (tokenizer.added_tokens ?? []).map(({ content }) => content);
  const mask =
    (typeof named === "string" ? named : named?.content) ?? added.find((token) => /^(\[MASK\]|<mask>)$/.test(token));
  const { vocab } = tokenizer.model;
  const words = vocab === undefined || vocab === null || Array.isArray(vocab) ? [] : Object.keys(vocab);
  const isOfResidues = words.length > 0 && words.length <= mostResidueTokens && words.includes("Q");
  const example = isOfResidues
    ? ["E V Q L V E S G G G L V Q P G G", "S L R L S C A A S G"]
    : ["Paris is the", "of France."];
  const text = example.join(mask === undefined ? " " : ` ${mask} `);
  return { text, ...(mask !== undefined && { mask }) };
}

/** The beginnings of licences, and the Hub's names for them. */
const licenses: readonly (readonly [RegExp, string])[] = [
  [/^\s*Apache License\s+Version 2\.0/i, "apache-2.0"],
  [/^\s*Apache-2\.0\b/i, "apache-2.0"],
  [/^\s*(The )?MIT License/i, "mit"],
  [/^\s*MIT\s*$/i, "mit"],
  [/^\s*Permission is hereby granted, free of charge/i, "mit"],
  [/^\s*BSD 3-Clause/i, "bsd-3-clause"],
  [/^\s*BSD 2-Clause/i, "bsd-2-clause"],
  [/^\s*GNU GENERAL PUBLIC LICENSE\s+Version 3/i, "gpl-3.0"],
  [/^\s*GNU AFFERO GENERAL PUBLIC LICENSE\s+Version 3/i, "agpl-3.0"],
  [/^\s*Creative Commons Attribution 4\.0/i, "cc-by-4.0"],
];

/** The licence that the checkpoint's own model card names, or else the one whose text it holds. */
async function licenseOf({ folder }: Source): Promise<string | undefined> {
  const text = async (name: string): Promise<string> => {
    const bytes = await readSmallFile(join(folder, name), textLimit).catch(() => undefined);
    return bytes === undefined ? "" : new TextDecoder().decode(bytes);
  };
  const [, frontMatter = ""] = /^---\r?\n(.*?)\r?\n---/s.exec(await text("README.md")) ?? [];
  const [, named] = /^license:\s*["']?([a-z0-9][a-z0-9.-]*)["']?\s*$/m.exec(frontMatter) ?? [];
  if (named !== undefined) return named;
  for (const name of ["LICENSE", "LICENSE.txt", "LICENSE.md"]) {
    const readable = await text(name);
    const [, known] = licenses.find(([pattern]) => pattern.test(readable)) ?? [];
    if (known !== undefined) return known;
  }
  return undefined;
}
