import { z } from "zod";

import { bytePairModel } from "./byte-pair-model.ts";
import { readStep } from "./read-step.ts";
import { NoTokenError, UnsupportedStep } from "./step-error.ts";
import { unigramModel } from "./unigram-model.ts";

/** Turns words into ids. */
export interface Model {
  /** @throws {NoTokenError} for a word that has no tokens, if there is no unknown token. */
  idsOf(word: string): readonly number[];
  readonly vocabulary: ReadonlyMap<string, number>;
  /** The number of its tokens. */
  readonly size: number;
  readonly unknownId: number | undefined;
}

const vocab = z.record(z.string(), z.int().nonnegative());
const token = z.string().nullish();
const flag = z.boolean().nullish();

const wordPieceSchema = z.strictObject({
  type: z.literal("WordPiece"),
  vocab,
  unk_token: z.string(),
  continuing_subword_prefix: z.string().default("##"),
  max_input_chars_per_word: z.int().nonnegative().default(100),
});
const wordLevelSchema = z.strictObject({ type: z.literal("WordLevel"), vocab, unk_token: token });
const bytePairSchema = z.strictObject({
  type: z.literal("BPE"),
  vocab,
  merges: z.array(z.union([z.string(), z.tuple([z.string(), z.string()])])),
  unk_token: token,
  continuing_subword_prefix: token,
  end_of_word_suffix: token,
  fuse_unk: flag,
  byte_fallback: flag,
  ignore_merges: flag,
  dropout: z.number().nullish(),
});
const unigramSchema = z.strictObject({
  type: z.literal("Unigram"),
  vocab: z.array(z.tuple([z.string(), z.number()])),
  unk_id: z.int().nonnegative().nullish(),
  byte_fallback: flag,
});
const schema = z.discriminatedUnion("type", [wordPieceSchema, wordLevelSchema, bytePairSchema, unigramSchema]);
const described = z.looseObject({ type: z.string().optional() });

/**
 * Makes the `model` of a `tokenizer.json`.
 *
 * @throws {UnsupportedStep} for a kind or a setting that is not carried out exactly, or that is random.
 */
export function makeModel(description: unknown): Model {
  const model = readStep("model", withType(description), schema);
  switch (model.type) {
    case "WordPiece":
      return wordPiece(model);
    case "WordLevel":
      return wordLevel(model);
    case "BPE":
      return bytePair(model);
    case "Unigram":
      return unigram(model);
  }
}

/** Old files do not name the model's type; it is the first of these whose settings are there. */
function withType(description: unknown): unknown {
  const model = described.safeParse(description).data;
  if (model === undefined || model.type !== undefined) return description;
  const has = (key: string): boolean => Object.hasOwn(model, key);
  const type = has("merges")
    ? "BPE"
    : Array.isArray(model["vocab"])
      ? "Unigram"
      : has("continuing_subword_prefix")
        ? "WordPiece"
        : "WordLevel";
  return { ...model, type };
}

function wordPiece(model: z.infer<typeof wordPieceSchema>): Model {
  const vocabulary = vocabularyOf(model.vocab);
  const unknownId = vocabulary.get(model.unk_token);
  const prefix = model.continuing_subword_prefix;
  const unknown = (word: string): number[] => {
    if (unknownId === undefined) throw new NoTokenError(word);
    return [unknownId];
  };
  const idsOf = (word: string): number[] => {
    const characters = [...word];
    if (characters.length > model.max_input_chars_per_word) return unknown(word);
    const ids: number[] = [];
    for (let start = 0; start < characters.length;) {
      let end = characters.length;
      let id: number | undefined;
      for (; end > start; end--) {
        id = vocabulary.get((start > 0 ? prefix : "") + characters.slice(start, end).join(""));
        if (id !== undefined) break;
      }
      if (id === undefined) return unknown(word);
      ids.push(id);
      start = end;
    }
    return ids;
  };
  return { idsOf, vocabulary, size: vocabulary.size, unknownId };
}

function wordLevel(model: z.infer<typeof wordLevelSchema>): Model {
  const vocabulary = vocabularyOf(model.vocab);
  const unknownId = idOf(model.unk_token, vocabulary);
  const idsOf = (word: string): number[] => {
    const id = vocabulary.get(word) ?? unknownId;
    if (id === undefined) throw new NoTokenError(word);
    return [id];
  };
  return { idsOf, vocabulary, size: vocabulary.size, unknownId };
}

function bytePair(model: z.infer<typeof bytePairSchema>): Model {
  if ((model.dropout ?? 0) !== 0) {
    throw new UnsupportedStep(`the model "BPE" with a dropout of ${model.dropout}, so that ids are random`);
  }
  const vocabulary = vocabularyOf(model.vocab);
  const unknownId = idOf(model.unk_token, vocabulary);
  const idsOf = bytePairModel({
    vocabulary,
    merges: model.merges.map((merge) => (typeof merge === "string" ? pairOf(merge) : merge)),
    unknown: unknownId === undefined ? undefined : (model.unk_token ?? undefined),
    continuingPrefix: model.continuing_subword_prefix ?? "",
    endSuffix: model.end_of_word_suffix ?? "",
    fuseUnknown: model.fuse_unk ?? false,
    byteFallback: model.byte_fallback ?? false,
    ignoreMerges: model.ignore_merges ?? false,
  });
  return { idsOf, vocabulary, size: vocabulary.size, unknownId };
}

function unigram(model: z.infer<typeof unigramSchema>): Model {
  const vocabulary = new Map(model.vocab.map(([piece], id) => [piece, id]));
  const unknownId = model.unk_id ?? undefined;
  if (unknownId !== undefined && unknownId >= model.vocab.length) throw new Error("unk_id is not in the vocabulary");
  const idsOf = unigramModel({ pieces: model.vocab, unknownId, byteFallback: model.byte_fallback ?? false });
  return { idsOf, vocabulary, size: model.vocab.length, unknownId };
}

function vocabularyOf(ids: Readonly<Record<string, number>>): ReadonlyMap<string, number> {
  return new Map(Object.entries(ids));
}

function idOf(name: string | null | undefined, vocabulary: ReadonlyMap<string, number>): number | undefined {
  return name === null || name === undefined ? undefined : vocabulary.get(name);
}

function pairOf(merge: string): [string, string] {
  const parts = merge.split(" ");
  if (parts.length !== 2) throw new Error(`the merge ${JSON.stringify(merge)} is not a pair`);
  return [parts[0]!, parts[1]!];
}
