import { malformed } from "../data/lines.ts";
import type { DataRecord } from "../data/record.ts";
import { InputError } from "@favor/checkpoints";
import { runBounded } from "./bounded.ts";
import { specialToken } from "./special-tokens.ts";
import type { TokenizerSettings } from "./special-tokens.ts";
import type { TokenPipeline } from "./steps/pipeline.ts";
import { NoTokenError } from "./steps/step-error.ts";

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

/** Where a tokenizer came from. */
export interface TokenizerFile {
  readonly path: string;
  /** Its regular expressions. */
  readonly patterns: readonly string[];
  /** Ids that represent no text, besides those of added special tokens. */
  readonly specialIds?: readonly number[];
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
  readonly #pipeline: TokenPipeline;
  readonly #file: TokenizerFile;
  readonly #residueIds: Map<string, number | undefined> = new Map();

  /** @param file - what it was read from, for messages. */
  constructor(pipeline: TokenPipeline, settings: TokenizerSettings, file: TokenizerFile) {
    const { vocabulary } = pipeline;
    const idOf = (role: Parameters<typeof specialToken>[0]): number | undefined => {
      const token = specialToken(role, settings, (name) => vocabulary.has(name));
      return token === undefined ? undefined : vocabulary.get(token);
    };
    this.#pipeline = pipeline;
    this.#file = file;
    this.vocabulary = vocabulary;
    this.size = [...vocabulary.values()].reduce((highest, id) => Math.max(highest, id), -1) + 1;
    this.maskId = idOf("mask");
    this.unknownId = idOf("unknown") ?? pipeline.unknownId;
    this.padId = idOf("pad") ?? 0;
    const specials = pipeline.addedTokens.filter(({ special }) => special).map(({ id }) => id);
    const roles = [idOf("pad"), this.maskId, this.unknownId, idOf("begin"), idOf("end")];
    this.specialIds = new Set([...specials, ...(file.specialIds ?? []), ...roles.filter((id) => id !== undefined)]);
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
    const ids = record.kind === "residues" ? this.#encodeResidues(record, path) : this.#encodeRecord(record, path);
    if (ids.every((id) => this.specialIds.has(id) && id !== this.unknownId)) {
      throw malformed(path, record.line, "the tokenizer finds no tokens in it");
    }
    const unknown = ids.reduce((count, id) => (id === this.unknownId ? count + 1 : count), 0);
    return { ids, line: record.line, unknown };
  }

  /**
   * The ids of a text, whatever they are.
   *
   * @throws {NoTokenError} for a text that has no tokens, if there is no unknown token; {InputError} `tokenizer-too-slow`.
   */
  idsOf(text: string): readonly number[] {
    return this.#encodeText(text);
  }

  #encodeRecord(record: DataRecord, path: string): number[] {
    try {
      return this.#encodeText(record.text);
    } catch (error) {
      if (!(error instanceof NoTokenError)) throw error;
      const { message } = error;
      throw malformed(
        path,
        record.line,
        `it has characters that are in no token (${message}), and the tokenizer has no unknown token`,
      );
    }
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
    const { before, after } = this.#pipeline.surroundings;
    return [...before, ...residues, ...after];
  }

  /** Encodes a text as the tokenizer does, with a bound on the time. */
  #encodeText(text: string, withSpecialTokens = true): number[] {
    const encode = (): number[] => this.#pipeline.encode(text, withSpecialTokens);
    const ended = runBounded(encode, textLimit);
    if (ended !== undefined) return ended.result;
    const what = `${JSON.stringify(beginOf(text))} (${text.length} characters)`;
    throw tooSlow(this.#file, `more than ${textLimit / 1000} s to tokenize ${what}`);
  }

  /** Encodes one character alone; undefined unless that gives exactly one usable token. */
  #residueId(letter: string): number | undefined {
    if (this.#residueIds.has(letter)) return this.#residueIds.get(letter);
    let id = this.#idAlone(letter);
    const upper = letter.toUpperCase();
    // Soft-masked FASTA writes known residues in lower case: the unknown token would silently blind the model.
    if (id === this.unknownId && upper !== letter && this.#residueId(upper) !== this.unknownId) id = undefined;
    this.#residueIds.set(letter, id);
    return id;
  }

  #idAlone(letter: string): number | undefined {
    try {
      const ids = this.#encodeText(letter, false);
      return ids.length === 1 ? ids[0] : undefined;
    } catch (error) {
      if (error instanceof NoTokenError) return undefined;
      throw error;
    }
  }
}

/** Refuses a tokenizer that takes too long. */
export function tooSlow({ path, patterns }: TokenizerFile, what: string): InputError {
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
