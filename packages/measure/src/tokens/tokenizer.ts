import { join } from "node:path";

import { Tokenizer } from "@huggingface/tokenizers";
import { z } from "zod";

import { malformed } from "../data/lines.ts";
import type { DataRecord } from "../data/record.ts";
import { InputError, messageOf } from "@favor/checkpoints";
import { readJson } from "@favor/checkpoints/node";
import { readSmallFile } from "@favor/checkpoints/node";
import { runBounded } from "./bounded.ts";
import { readTokenizerSettings, specialToken } from "./special-tokens.ts";
import type { TokenizerSettings } from "./special-tokens.ts";
import { tokenizerFromVocabulary } from "./vocabulary-file.ts";

const tokenizerLimit = 256 * 1024 * 1024;
const vocabularyLimit = 32 * 1024 * 1024;

/** The part of `tokenizer.json` that we read; the library reads the rest. */
const descriptionSchema = z.looseObject({ model: z.looseObject({ unk_token: z.string().nullish() }) });

/** A record as token ids. */
export interface TokenSequence {
  /** Token ids, including special tokens. */
  readonly ids: readonly number[];
  /** The record's line in its file, counted from 1. */
  readonly line: number;
  /** How many of the ids are unknown tokens. */
  readonly unknown: number;
}

/** The longest time for one text, in milliseconds: an ordinary tokenizer takes less than a second for a megabyte. */
const textLimit = 15_000;

/** The longest time to build a tokenizer from its description, in milliseconds. */
const loadLimit = 60_000;

/** Where a tokenizer came from. */
export interface TokenizerFile {
  readonly path: string;
  /** Its regular expressions. */
  readonly patterns: readonly string[];
}

/** A checkpoint's tokenizer: turns records into token ids. */
export class SequenceTokenizer {
  /** The highest id plus one: the rows that the embedding needs. */
  readonly size: number;
  readonly padId: number;
  readonly maskId: number | undefined;
  readonly unknownId: number | undefined;
  /** Ids that represent no text; they are never masked or drawn as replacements. */
  readonly specialIds: ReadonlySet<number>;
  /** Every token with its id, the special ones included. */
  readonly vocabulary: ReadonlyMap<string, number>;
  readonly #tokenizer: Tokenizer;
  readonly #file: TokenizerFile;
  readonly #residueIds: Map<string, number | undefined> = new Map();
  #around: { readonly before: readonly number[]; readonly after: readonly number[] } | undefined;

  /** @param file - what it was read from, for messages. */
  constructor(tokenizer: Tokenizer, settings: TokenizerSettings, file: TokenizerFile) {
    const vocabulary = tokenizer.get_vocab(true);
    let highest = -1;
    for (const id of vocabulary.values()) highest = Math.max(highest, id);
    const idOf = (role: Parameters<typeof specialToken>[0]): number | undefined => {
      const token = specialToken(role, settings, (name) => vocabulary.has(name));
      return token === undefined ? undefined : vocabulary.get(token);
    };
    this.#tokenizer = tokenizer;
    this.#file = file;
    this.vocabulary = vocabulary;
    this.size = highest + 1;
    this.maskId = idOf("mask");
    this.unknownId = idOf("unknown");
    this.padId = idOf("pad") ?? 0;
    const specials = [...tokenizer.get_added_tokens_decoder()].filter(([, token]) => token.special).map(([id]) => id);
    const roles = [idOf("pad"), this.maskId, this.unknownId, idOf("begin"), idOf("end")];
    this.specialIds = new Set([...specials, ...roles.filter((id) => id !== undefined)]);
  }

  /**
   * Encodes a record, with special tokens. Residues become one token each. Characters that are not in the vocabulary
   * become the unknown token, if the tokenizer has one.
   *
   * @param path - the data file, for messages.
   * @throws {InputError} `data-malformed`, naming the line: for a residue that is not exactly one token, a lower-case
   * residue that the vocabulary has only in upper case, or a text without any token; `tokenizer-too-slow` for a text
   * that takes more than 15 s.
   */
  encode(record: DataRecord, path: string): TokenSequence {
    // Contrary to the library's types, a character outside the vocabulary may give undefined.
    const ids: (number | undefined)[] =
      record.kind === "residues" ? this.#encodeResidues(record, path) : this.#encodeText(record.text);
    if (!ids.every((id) => id !== undefined)) {
      throw malformed(
        path,
        record.line,
        "it has characters that are in no token, and the tokenizer has no unknown token",
      );
    }
    if (ids.every((id) => this.specialIds.has(id) && id !== this.unknownId)) {
      throw malformed(path, record.line, "the tokenizer finds no tokens in it");
    }
    const unknown = ids.reduce((count, id) => (id === this.unknownId ? count + 1 : count), 0);
    return { ids, line: record.line, unknown };
  }

  #encodeResidues(record: DataRecord, path: string): number[] {
    const residues: number[] = [];
    for (let offset = 0; offset < record.text.length; offset++) {
      const letter = record.text[offset]!;
      const id = this.#residueId(letter);
      if (id === undefined) {
        const known = this.#residueId(letter.toUpperCase());
        const advice =
          known !== undefined && letter !== letter.toUpperCase()
            ? `the vocabulary knows ${JSON.stringify(letter.toUpperCase())}, not the lower-case ${JSON.stringify(letter)}: write the sequence in capitals`
            : `the tokenizer has no token for the residue ${JSON.stringify(letter)}`;
        throw malformed(path, record.lineOf(offset), advice);
      }
      residues.push(id);
    }
    this.#around ??= this.#specialsAround(record.text[0]!);
    return [...this.#around.before, ...residues, ...this.#around.after];
  }

  /** Encodes a text as the tokenizer does, with a bound on the time. */
  #encodeText(text: string, withSpecialTokens = true): number[] {
    const encode = (): number[] => this.#tokenizer.encode(text, { add_special_tokens: withSpecialTokens }).ids;
    const ended = runBounded(encode, textLimit);
    if (ended !== undefined) return ended.result;
    const what = `${JSON.stringify(beginOf(text))} (${text.length} characters)`;
    throw tooSlow(this.#file, `more than ${textLimit / 1000} s to tokenize ${what}`);
  }

  /** Encodes one character alone; undefined unless that gives exactly one usable token. */
  #residueId(letter: string): number | undefined {
    if (this.#residueIds.has(letter)) return this.#residueIds.get(letter);
    const ids: number[] = this.#encodeText(letter, false);
    let id: number | undefined = ids.length === 1 ? ids[0] : undefined;
    const upper = letter.toUpperCase();
    // Soft-masked FASTA writes known residues in lower case: the unknown token would silently blind the model.
    if (id === this.unknownId && upper !== letter && this.#residueId(upper) !== this.unknownId) id = undefined;
    this.#residueIds.set(letter, id);
    return id;
  }

  /** The special tokens that the tokenizer puts before and after a sequence. */
  #specialsAround(letter: string): { before: number[]; after: number[] } {
    const bare: number[] = this.#encodeText(letter, false);
    const ids: number[] = this.#encodeText(letter);
    const start = ids.findIndex((_, at) => bare.every((id, i) => ids[at + i] === id));
    return { before: ids.slice(0, start), after: ids.slice(start + bare.length) };
  }
}

/**
 * Loads the tokenizer of a checkpoint folder: from `tokenizer.json`, or from `vocab.txt` if there is nothing else.
 *
 * @throws {InputError} `tokenizer-missing`, `tokenizer-malformed`, `tokenizer-too-slow` (more than 60 s to load),
 * `config-malformed`, `file-unreadable`.
 */
export async function loadTokenizer(folder: string): Promise<SequenceTokenizer> {
  const settings = await readTokenizerSettings(folder);
  const path = join(folder, "tokenizer.json");
  const description =
    (await readJson(path, descriptionSchema, tokenizerLimit)) ??
    tokenizerFromVocabulary(...(await readVocabulary(folder)), settings);
  // The library takes a word-level model's unknown token from the settings alone.
  const unknown = settings.unk_token ?? description.model.unk_token;
  try {
    const file = { path, patterns: patternsIn(description) };
    const made = runBounded(() => new Tokenizer(description, { ...settings, unk_token: unknown }), loadLimit);
    if (made === undefined) throw tooSlow(file, `more than ${loadLimit / 1000} s to load`);
    return new SequenceTokenizer(made.result, settings, file);
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(
      `${path} is not a readable tokenizer (${messageOf(error)}). Save the tokenizer again with ` +
        `tokenizer.save_pretrained(...) in a recent version of transformers.`,
      { code: "tokenizer-malformed", cause: error, details: { path } },
    );
  }
}

/** Every regular expression of a `tokenizer.json`, in its order; the vocabulary is not searched. */
function patternsIn(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(patternsIn);
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, each]) => {
    if (key === "vocab" || key === "merges") return [];
    return key === "Regex" && typeof each === "string" ? [each] : patternsIn(each);
  });
}

function tooSlow({ path, patterns }: TokenizerFile, what: string): InputError {
  const blamed =
    patterns.length === 0
      ? "It may take time quadratic in the length of a word"
      : `It may be one of its patterns (${patterns.join("  ")}), which can take time exponential in the length of a text`;
  return new InputError(
    `${path} takes ${what}. ` +
      `${blamed}. Put the checkpoint's original tokenizer there, or use data with shorter texts.`,
    { code: "tokenizer-too-slow", details: { path, patterns } },
  );
}

function beginOf(text: string): string {
  return text.length > 30 ? `${text.slice(0, 30)}...` : text;
}

async function readVocabulary(folder: string): Promise<[text: string, path: string]> {
  const path = join(folder, "vocab.txt");
  const bytes = await readSmallFile(path, vocabularyLimit);
  if (bytes === undefined) {
    throw new InputError(
      `${folder} holds neither tokenizer.json nor vocab.txt, so data cannot be tokenised. Add the ` +
        `checkpoint's tokenizer files, or convert without --calibrate and --evaluate.`,
      { code: "tokenizer-missing", details: { folder } },
    );
  }
  return [bytes.toString("utf8"), path];
}
