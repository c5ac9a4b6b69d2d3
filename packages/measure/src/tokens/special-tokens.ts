import { join } from "node:path";

import { z } from "zod";

import { readJson } from "@favor/checkpoints/node";

export type SpecialRole = "pad" | "unknown" | "begin" | "end" | "mask";

/** A special token: its text, or an object with the text. */
type NamedToken = string | { readonly content: string } | null | undefined;

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
  readonly do_lower_case?: boolean | null | undefined;
}

const tokenText: z.ZodType<NamedToken> = z.union([z.string(), z.looseObject({ content: z.string() })]).nullish();

const settingsSchema: z.ZodType<TokenizerSettings> = z.looseObject({
  pad_token: tokenText,
  unk_token: tokenText,
  cls_token: tokenText,
  bos_token: tokenText,
  sep_token: tokenText,
  eos_token: tokenText,
  mask_token: tokenText,
  do_lower_case: z.boolean().nullish(),
});

const settingsLimit = 16 * 1024 * 1024;

/** Reads a checkpoint's tokenizer settings; `tokenizer_config.json` overrides `special_tokens_map.json`. */
export async function readTokenizerSettings(folder: string): Promise<TokenizerSettings> {
  const named = await readJson(join(folder, "special_tokens_map.json"), settingsSchema, settingsLimit);
  const settings = await readJson(join(folder, "tokenizer_config.json"), settingsSchema, settingsLimit);
  return { ...named, ...settings };
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
  const texts = named.map((token) => (typeof token === "object" ? token?.content : token));
  return [...texts, ...usualNames[role]].find((token) => token !== undefined && holds(token));
}
