import { join } from "node:path";

import { z } from "zod";

import { readJson } from "@favor/checkpoints/node";

export type SpecialRole = "pad" | "unknown" | "begin" | "end" | "mask";

/** A special token: its text, or an object with the text. */
export type NamedToken = string | { readonly content: string } | null | undefined;

/** The contents of `tokenizer_config.json` and `special_tokens_map.json`; we use the special tokens. */
export interface TokenizerSettings {
  readonly [key: string]: unknown;
  readonly pad_token?: NamedToken;
  readonly unk_token?: NamedToken;
  readonly cls_token?: NamedToken;
  readonly bos_token?: NamedToken;
  readonly sep_token?: NamedToken;
  readonly eos_token?: NamedToken;
  readonly mask_token?: NamedToken;
  readonly additional_special_tokens?: readonly NamedToken[] | null | undefined;
  /** Or an object, of names that only programs use. */
  readonly extra_special_tokens?: unknown;
  readonly tokenizer_class?: string | null | undefined;
  readonly do_lower_case?: boolean | null | undefined;
  readonly strip_accents?: boolean | null | undefined;
  readonly tokenize_chinese_chars?: boolean | null | undefined;
  readonly add_prefix_space?: boolean | null | undefined;
  readonly add_bos_token?: boolean | null | undefined;
  readonly add_eos_token?: boolean | null | undefined;
  readonly split_special_tokens?: boolean | null | undefined;
  /** Tokens that transformers adds to the vocabulary, by id. */
  readonly added_tokens_decoder?: Readonly<Record<string, AddedTokenSettings>> | null | undefined;
}

/** How a token is found in a text; see `AddedToken`. */
interface AddedTokenSettings {
  readonly content: string;
  readonly single_word?: boolean | undefined;
  readonly lstrip?: boolean | undefined;
  readonly rstrip?: boolean | undefined;
  readonly normalized?: boolean | undefined;
  readonly special?: boolean | undefined;
}

const tokenText: z.ZodType<NamedToken> = z.union([z.string(), z.looseObject({ content: z.string() })]).nullish();

const flag = z.boolean().nullish();
const addedToken: z.ZodType<AddedTokenSettings> = z.looseObject({
  content: z.string(),
  single_word: z.boolean().optional(),
  lstrip: z.boolean().optional(),
  rstrip: z.boolean().optional(),
  normalized: z.boolean().optional(),
  special: z.boolean().optional(),
});

const settingsSchema: z.ZodType<TokenizerSettings> = z.looseObject({
  pad_token: tokenText,
  unk_token: tokenText,
  cls_token: tokenText,
  bos_token: tokenText,
  sep_token: tokenText,
  eos_token: tokenText,
  mask_token: tokenText,
  additional_special_tokens: z.array(tokenText).nullish(),
  extra_special_tokens: z.unknown().optional(),
  tokenizer_class: z.string().nullish(),
  do_lower_case: flag,
  strip_accents: flag,
  tokenize_chinese_chars: flag,
  add_prefix_space: flag,
  add_bos_token: flag,
  add_eos_token: flag,
  split_special_tokens: flag,
  added_tokens_decoder: z.record(z.string(), addedToken).nullish(),
});

const settingsLimit = 16 * 1024 * 1024;

/** Reads a checkpoint's tokenizer settings; `tokenizer_config.json` overrides `special_tokens_map.json`. */
export async function readTokenizerSettings(folder: string): Promise<TokenizerSettings> {
  const named = await readJson(join(folder, "special_tokens_map.json"), settingsSchema, settingsLimit);
  const settings = await readJson(join(folder, "tokenizer_config.json"), settingsSchema, settingsLimit);
  return { ...named, ...settings };
}

/** The tokens that the settings name, as texts. */
export function namedTokens(settings: TokenizerSettings): string[] {
  const { pad_token: pad, unk_token: unknown, mask_token: mask } = settings;
  const extra = [...list(settings.additional_special_tokens), ...list(settings.extra_special_tokens)];
  const named = [
    pad,
    unknown,
    settings.cls_token,
    settings.bos_token,
    settings.sep_token,
    settings.eos_token,
    mask,
    ...extra,
  ];
  return [...new Set(named.map(textOf).filter((text) => text !== undefined))];
}

const tokenList = z.union([z.array(tokenText), z.record(z.string(), tokenText).transform(Object.values)]);

function list(tokens: unknown): readonly NamedToken[] {
  return tokenList.safeParse(tokens).data ?? [];
}

/** The text of a token. */
export function textOf(token: NamedToken): string | undefined {
  return typeof token === "object" ? token?.content : token;
}

/** Usual names, for vocabularies without settings. */
const usualNames: Readonly<Record<SpecialRole, readonly string[]>> = {
  pad: ["[PAD]", "<pad>"],
  unknown: ["[UNK]", "<unk>"],
  begin: ["[CLS]", "<cls>", "<s>"],
  end: ["[SEP]", "<eos>", "</s>", "<sep>"],
  mask: ["[MASK]", "<mask>"],
};

/** The token for a role: the one that the settings name, or a usual name that the vocabulary contains. */
export function specialToken(
  role: SpecialRole,
  settings: TokenizerSettings,
  holds: (token: string) => boolean,
): string | undefined {
  const named = {
    pad: [settings.pad_token],
    unknown: [settings.unk_token],
    begin: [settings.cls_token, settings.bos_token],
    end: [settings.sep_token, settings.eos_token],
    mask: [settings.mask_token],
  }[role];
  return [...named.map(textOf), ...usualNames[role]].find((token) => token !== undefined && holds(token));
}
