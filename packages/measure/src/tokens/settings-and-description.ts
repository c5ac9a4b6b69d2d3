import { InputError } from "@favor/checkpoints";
import { z } from "zod";

import { namedTokens, type TokenizerSettings } from "./special-tokens.ts";

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
const vocabularyOf = z.looseObject({ vocab: z.record(z.string(), z.number()) });

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

function withNamedTokens(description: Description, settings: TokenizerSettings): unknown {
  const parsed = addedTokens.safeParse(description["added_tokens"] ?? []);
  const model = vocabularyOf.safeParse(description["model"]);
  if (!parsed.success || !model.success) return description["added_tokens"];
  const known = new Set(parsed.data.map(({ content }) => content));
  const { vocab } = model.data;
  const further = namedTokens(settings)
    .filter((content) => !known.has(content) && Object.hasOwn(vocab, content))
    .map((content) => ({
      id: vocab[content],
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    }));
  return [...parsed.data, ...further];
}
