import { InputError } from "@favor/checkpoints";
import { specialToken } from "./special-tokens.ts";
import type { TokenizerSettings } from "./special-tokens.ts";

/** A `tokenizer.json`, as far as we read it. */
export interface TokenizerDescription {
  readonly [key: string]: unknown;
  readonly model: { readonly unk_token?: string | null | undefined; readonly [key: string]: unknown };
}

/** A token that represents no text: `[CLS]`, `<null_1>`. */
const special = /^(?:\[[A-Z0-9_]+\]|<[^<>\s]+>)$/;

/**
 * Makes a `tokenizer.json` from a bare `vocab.txt` with one token per line, whose id is the number of the line.
 *
 * - If every ordinary token is a single character: one token per character (residues), skipping white space.
 * - Otherwise: BERT's WordPiece (`##` continues a word), lower-casing according to `do_lower_case`; by default, only if
 *   no token has a capital.
 *
 * @param text - contents of the file.
 * @param path - the file, for messages.
 * @param settings - the checkpoint's tokenizer settings, if any.
 * @throws {InputError} `tokenizer-malformed`: a duplicate, no unknown token for WordPiece, an empty file.
 */
export function tokenizerFromVocabulary(text: string, path: string, settings: TokenizerSettings): TokenizerDescription {
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
  const role = (name: Parameters<typeof specialToken>[0]): string | undefined =>
    specialToken(name, settings, (token) => vocabulary.has(token));
  const ordinary = tokens.filter((token) => token !== "" && !special.test(token));
  if (ordinary.length === 0) throw bad(path, "it contains no ordinary tokens");
  const perCharacter = ordinary.every((token) => [...token].length === 1);
  const unknown = role("unknown");
  if (!perCharacter && unknown === undefined) throw bad(path, "it contains no unknown token such as [UNK]");
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: tokens.flatMap((content, id) => (special.test(content) ? [addedToken(content, id)] : [])),
    normalizer: perCharacter
      ? { type: "Replace", pattern: { Regex: String.raw`\s+` }, content: "" }
      : {
          type: "BertNormalizer",
          clean_text: true,
          handle_chinese_chars: true,
          strip_accents: null,
          lowercase: settings.do_lower_case ?? !ordinary.some((token) => /\p{Lu}/u.test(token)),
        },
    pre_tokenizer: perCharacter
      ? { type: "Split", pattern: { Regex: "." }, behavior: "Isolated", invert: false }
      : { type: "BertPreTokenizer" },
    post_processor: surrounding(role("begin"), role("end"), vocabulary),
    decoder: null,
    model: {
      ...(perCharacter
        ? { type: "WordLevel" }
        : { type: "WordPiece", continuing_subword_prefix: "##", max_input_chars_per_word: 100 }),
      vocab: Object.fromEntries(vocabulary),
      ...(unknown === undefined ? {} : { unk_token: unknown }),
    },
  };
}

function addedToken(content: string, id: number): object {
  return { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
}

function piece(token: string | undefined): object[] {
  return token === undefined ? [] : [{ SpecialToken: { id: token, type_id: 0 } }];
}

/** `[CLS] sequence [SEP]`, with whichever of the two exists. */
function surrounding(begin: string | undefined, end: string | undefined, ids: ReadonlyMap<string, number>): object {
  const single = [...piece(begin), { Sequence: { id: "A", type_id: 0 } }, ...piece(end)];
  const used = [begin, end].filter((token) => token !== undefined);
  return {
    type: "TemplateProcessing",
    single,
    pair: [...single, { Sequence: { id: "B", type_id: 1 } }, ...piece(end)],
    special_tokens: Object.fromEntries(
      used.map((token) => [token, { id: token, ids: [ids.get(token)!], tokens: [token] }]),
    ),
  };
}

function bad(path: string, what: string): InputError {
  return new InputError(`${path}: ${what}. Restore the checkpoint's original vocabulary.`, {
    code: "tokenizer-malformed",
    details: { path },
  });
}
