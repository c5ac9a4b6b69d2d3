import { InputError } from "@favor/checkpoints";

import { specialToken } from "./special-tokens.ts";
import type { SpecialRole, TokenizerSettings } from "./special-tokens.ts";
import type { AddedToken } from "./steps/added-tokens.ts";

/** A vocabulary without `tokenizer.json`, ready to become one. */
export interface BareVocabulary {
  readonly path: string;
  /** Token to id. */
  readonly tokens: ReadonlyMap<string, number>;
  readonly settings: TokenizerSettings;
  readonly addedTokens: readonly AddedToken[];
}

/** A token that represents no text: `[CLS]`, `<null_1>`. */
const special = /^(?:\[[A-Z0-9_]+\]|<[^<>\s]+>)$/;

/**
 * Reads `vocab.txt`: one token per line, whose id is the number of the line.
 *
 * @param text - contents of the file.
 * @param path - the file, for messages.
 * @throws {InputError} `tokenizer-malformed` for a token on two lines.
 */
export function readVocabularyLines(text: string, path: string): Map<string, number> {
  const tokens = text
    .replace(/^\uFEFF/, "")
    .replace(/\r?\n$/, "")
    .split(/\r?\n/);
  const vocabulary = new Map<string, number>();
  for (const [id, token] of tokens.entries()) {
    if (vocabulary.has(token)) {
      throw bad(
        path,
        `line ${id + 1} repeats the token ${JSON.stringify(token)} of line ${vocabulary.get(token)! + 1}`,
      );
    }
    vocabulary.set(token, id);
  }
  return vocabulary;
}

/** The names of a vocabulary's tokens that represent no text. */
export function bracketedTokens(tokens: ReadonlyMap<string, number>): string[] {
  return [...tokens.keys()].filter((token) => special.test(token));
}

/** The special tokens that a vocabulary has, by the settings or by their usual names. */
export function roleTokens(tokens: ReadonlyMap<string, number>, settings: TokenizerSettings): string[] {
  const roles = ["pad", "unknown", "begin", "end", "mask"] as const;
  return roles
    .map((role) => specialToken(role, settings, (token) => tokens.has(token)))
    .filter((token) => token !== undefined);
}

/** Whether every ordinary token is a single character, as for residues. */
export function isPerCharacter(tokens: ReadonlyMap<string, number>): boolean {
  return ordinary(tokens).every((token) => [...token].length === 1);
}

function ordinary(tokens: ReadonlyMap<string, number>): string[] {
  return [...tokens.keys()].filter((token) => token !== "" && !special.test(token));
}

/** One token per character, skipping white space. */
export function residueTokenizer(vocabulary: BareVocabulary): object {
  const unknown = roleOf("unknown", vocabulary);
  if (ordinary(vocabulary.tokens).length === 0) throw bad(vocabulary.path, "it contains no ordinary tokens");
  return {
    added_tokens: vocabulary.addedTokens,
    normalizer: { type: "Replace", pattern: { Regex: String.raw`\s+` }, content: "" },
    pre_tokenizer: { type: "Split", pattern: { Regex: "." }, behavior: "Isolated", invert: false },
    post_processor: surrounding(vocabulary),
    model: { type: "WordLevel", vocab: Object.fromEntries(vocabulary.tokens), unk_token: unknown ?? null },
  };
}

/**
 * BERT's WordPiece (`##` continues a word), with the settings of transformers' BertTokenizer.
 *
 * @throws {InputError} `tokenizer-malformed`: no ordinary token, or no unknown token; `tokenizer-ambiguous`: nothing says
 * whether capitals are kept; `tokenizer-unsupported`: settings that only Python's slow tokenizer knows.
 */
export function wordPieceTokenizer(vocabulary: BareVocabulary): object {
  const { path, tokens, settings, addedTokens } = vocabulary;
  const words = ordinary(tokens);
  const unknown = roleOf("unknown", vocabulary);
  if (words.length === 0) throw bad(path, "it contains no ordinary tokens");
  if (unknown === undefined) throw bad(path, "it contains no unknown token such as [UNK]");
  refuseSlowSettings(path, settings);
  const lowercase = settings.do_lower_case;
  if (typeof lowercase !== "boolean" && words.some((token) => /\p{Lu}/u.test(token))) {
    throw new InputError(
      `${path} has capitals, but nothing says whether the tokenizer keeps them: transformers would lower-case all text. ` +
        `Put a tokenizer_config.json with "do_lower_case": false (or true) next to it.`,
      { code: "tokenizer-ambiguous", details: { path } },
    );
  }
  return {
    added_tokens: addedTokens,
    normalizer: {
      type: "BertNormalizer",
      clean_text: settings["clean_text"] ?? true,
      handle_chinese_chars: settings.tokenize_chinese_chars ?? true,
      strip_accents: settings.strip_accents ?? null,
      lowercase: lowercase ?? true,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: surrounding(vocabulary),
    model: {
      type: "WordPiece",
      continuing_subword_prefix: settings["wordpieces_prefix"] ?? "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(tokens),
      unk_token: unknown,
    },
  };
}

/** Settings that change the ids in Python's slow tokenizers, and that their fast versions leave out. */
function refuseSlowSettings(path: string, settings: TokenizerSettings): void {
  const never = settings["never_split"];
  const found =
    settings["do_basic_tokenize"] === false
      ? `"do_basic_tokenize": false`
      : Array.isArray(never) && never.length > 0
        ? `"never_split": ${JSON.stringify(never)}`
        : undefined;
  if (found === undefined) return;
  throw new InputError(
    `${path} comes with the setting ${found}, which Favor cannot carry out: only Python's slow tokenizer does. Give ` +
      `the checkpoint a tokenizer.json, or convert without --calibrate and --evaluate.`,
    { code: "tokenizer-unsupported", details: { path } },
  );
}

function roleOf(role: SpecialRole, { settings, tokens }: BareVocabulary): string | undefined {
  return specialToken(role, settings, (token) => tokens.has(token));
}

/** `[CLS] sequence [SEP]`, with whichever of the two exists. */
export function surrounding(vocabulary: BareVocabulary, withBegin = true, withEnd = true): object {
  const begin = withBegin ? roleOf("begin", vocabulary) : undefined;
  const end = withEnd ? roleOf("end", vocabulary) : undefined;
  const used = [begin, end].filter((token) => token !== undefined);
  return {
    type: "TemplateProcessing",
    single: [...piece(begin), { Sequence: { id: "A", type_id: 0 } }, ...piece(end)],
    pair: [],
    special_tokens: Object.fromEntries(used.map((token) => [token, { ids: [vocabulary.tokens.get(token)!] }])),
  };
}

function piece(token: string | undefined): object[] {
  return token === undefined ? [] : [{ SpecialToken: { id: token, type_id: 0 } }];
}

function bad(path: string, what: string): InputError {
  return new InputError(`${path}: ${what}. Restore the checkpoint's original vocabulary.`, {
    code: "tokenizer-malformed",
    details: { path },
  });
}
