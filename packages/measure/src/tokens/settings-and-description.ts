import { InputError } from "@favor/checkpoints";
import { z } from "zod";

import { namedTokens, textOf } from "./special-tokens.ts";
import type { NamedToken, TokenizerSettings } from "./special-tokens.ts";
import type { Surroundings } from "./steps/post-processors.ts";

/** A `tokenizer.json`, as far as its settings are compared. */
interface Description {
  readonly [key: string]: unknown;
}

const bertNormalizer = z.looseObject({
  type: z.literal("BertNormalizer"),
  lowercase: z.boolean(),
  strip_accents: z.boolean().nullish(),
  handle_chinese_chars: z.boolean(),
});
const byteLevel = z.looseObject({ type: z.literal("ByteLevel"), add_prefix_space: z.boolean() });
const addedTokens = z.array(z.looseObject({ content: z.string() }));
const modelSchema = z.looseObject({
  vocab: z.union([z.record(z.string(), z.number()), z.array(z.tuple([z.string(), z.number()]))]),
});

/**
 * Combines a `tokenizer.json` with `tokenizer_config.json`, as transformers does: special tokens that the latter names and
 * the vocabulary has are found in texts.
 *
 * @throws {InputError} `tokenizer-ambiguous` where the two contradict each other: then versions of transformers give
 * different ids. `tokenizer-unsupported` for `split_special_tokens`.
 */
export function withSettings(description: Description, settings: TokenizerSettings, path: string): Description {
  if (settings.split_special_tokens === true) {
    throw new InputError(
      `${path} comes with "split_special_tokens": true, which Favor cannot carry out. Remove that setting from ` +
        `tokenizer_config.json, or convert without --calibrate and --evaluate.`,
      { code: "tokenizer-unsupported", details: { path } },
    );
  }
  const isBert = /^(?:Bert|DistilBert|Electra)Tokenizer(?:Fast)?$/.test(settings.tokenizer_class ?? "");
  const bert = bertNormalizer.safeParse(description["normalizer"]).data;
  if (bert !== undefined) {
    const fallback = isBert ? true : undefined;
    compare(path, "do_lower_case", settings.do_lower_case ?? fallback, "lowercase", bert.lowercase);
    const accents = settings.strip_accents ?? (isBert ? (settings.do_lower_case ?? true) : undefined);
    compare(path, "strip_accents", accents, "strip_accents", bert.strip_accents ?? bert.lowercase);
    const cjk = settings.tokenize_chinese_chars ?? fallback;
    compare(path, "tokenize_chinese_chars", cjk, "handle_chinese_chars", bert.handle_chinese_chars);
  }
  if (isBert && (description["post_processor"] ?? null) === null) {
    throw new InputError(
      `${path} puts no special tokens around a text, but the ${settings.tokenizer_class} of its tokenizer_config.json does ` +
        `in some versions of transformers. Save the tokenizer again with a recent version.`,
      { code: "tokenizer-ambiguous", details: { path } },
    );
  }
  const bytes = byteLevel.safeParse(description["pre_tokenizer"]).data;
  if (bytes !== undefined) {
    compare(path, "add_prefix_space", settings.add_prefix_space, "add_prefix_space", bytes.add_prefix_space);
  }
  return { ...description, added_tokens: withNamedTokens(description, settings) };
}

function compare(
  path: string,
  key: string,
  setting: boolean | null | undefined,
  counterpart: string,
  found: boolean,
): void {
  if (setting === undefined || setting === null || setting === found) return;
  throw new InputError(
    `${path} has "${counterpart}": ${found}, but by its tokenizer_config.json "${key}" is ${setting} (for a class of BERT ` +
      `also if it is not given). Which of the two counts depends on the version of transformers: make them agree.`,
    { code: "tokenizer-ambiguous", details: { path, key, setting, found } },
  );
}

/** The file's added tokens, those of the settings (which come after it, and win), and the special tokens of the vocabulary. */
function withNamedTokens(description: Description, settings: TokenizerSettings): unknown {
  const parsed = addedTokens.safeParse(description["added_tokens"] ?? []);
  if (!parsed.success) return description["added_tokens"];
  const tokens = new Map<string, object>(parsed.data.map((token) => [token.content, token]));
  const vocab = vocabularyIn(description["model"]);
  const named = namedTokens(settings);
  for (const [id, { content, ...flags }] of Object.entries(settings.added_tokens_decoder ?? {})) {
    const special = (flags.special ?? false) || named.includes(content);
    tokens.set(content, { ...plain, normalized: !special, ...flags, id: Number(id), content, special });
  }
  for (const content of named) {
    const id = vocab.get(content);
    if (id !== undefined && !tokens.has(content)) {
      tokens.set(content, { ...plain, normalized: false, id, content, special: true });
    }
  }
  return [...tokens.values()];
}

const plain = { single_word: false, lstrip: false, rstrip: false };

function vocabularyIn(model: unknown): ReadonlyMap<string, number> {
  const { vocab } = modelSchema.safeParse(model).data ?? {};
  if (vocab === undefined) return new Map();
  return Array.isArray(vocab) ? new Map(vocab.map(([piece], id) => [piece, id])) : new Map(Object.entries(vocab));
}

/** Classes whose special tokens some versions of transformers set by `add_bos_token` and `add_eos_token`. */
const plainClass =
  /^(?:PreTrainedTokenizer|TokenizersBackend|GPT2Tokenizer|Qwen2Tokenizer|LlamaTokenizer|GemmaTokenizer)(?:Fast)?$/;

/**
 * Compares the special tokens around a text with `add_bos_token` and `add_eos_token` of the settings.
 *
 * @throws {InputError} `tokenizer-ambiguous` if they contradict each other.
 */
export function checkSurroundings(
  { before, after }: Surroundings,
  settings: TokenizerSettings,
  vocabulary: ReadonlyMap<string, number>,
  path: string,
): void {
  const { add_bos_token: withBegin, add_eos_token: withEnd, tokenizer_class: name } = settings;
  if (typeof withBegin !== "boolean" && typeof withEnd !== "boolean") return;
  if (!plainClass.test(name ?? "PreTrainedTokenizerFast")) return;
  const ids = (isThere: boolean | null | undefined, token: NamedToken): (number | undefined)[] => {
    const content = textOf(token);
    return isThere === true && content !== undefined ? [vocabulary.get(content)] : [];
  };
  const expected = [ids(withBegin, settings.bos_token), ids(withEnd, settings.eos_token)];
  if (JSON.stringify(expected) === JSON.stringify([before, after])) return;
  throw new InputError(
    `${path} puts the ids [${before.join(", ")}] before a text and [${after.join(", ")}] after it; "add_bos_token" and ` +
      `"add_eos_token" of its tokenizer_config.json say otherwise. Which of the two counts depends on the version of ` +
      `transformers: make them agree.`,
    { code: "tokenizer-ambiguous", details: { path, before, after } },
  );
}
