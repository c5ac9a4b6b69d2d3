import { basename } from "node:path";

import { hashFile } from "@favor/onnx/node";

import { readRecords } from "../data/data-file.ts";
import { malformed, unitOf } from "../data/lines.ts";
import type { DataRecord } from "../data/record.ts";
import { sampleOf, sampleOfAll, sampleWithLongest } from "../data/sample.ts";
import { InputError } from "@favor/checkpoints";

import type { SequenceTokenizer, TokenSequence } from "./tokenizer.ts";
import { windowsOf } from "./windows.ts";

/** A data file and what was read from it. */
export interface DataUse {
  readonly file: string;
  readonly sha256: string;
  readonly sequences: number;
  readonly tokens: number;
  /** How many tokens the tokenizer did not know. */
  readonly unknown: number;
  /** How many sequences were cut to the longest length. */
  readonly truncated: number;
  /** How many were not drawn, but added because they are the longest of the file; absent: none. */
  readonly longest?: number;
  /** How many of the sequences are windows of longer ones. Older records have none, as those without windows. */
  readonly windows?: number;
  /** Tokens of a window. */
  readonly windowTokens?: number;
  /** Seed of the draw and of the masks. */
  readonly seed: number;
}

export interface SequenceOptions {
  /** Largest number of records to draw from the file, and of sequences. */
  readonly count: number;
  /** Seed of the draw. */
  readonly seed: number;
  /** The longest sequence, in tokens; undefined: no limit. */
  readonly maximumTokens: number | undefined;
  /**
   * What becomes of longer ones: "windows" of the longest length, spread over the sequence, from which the sequences are
   * drawn; "cut" keeps the beginning and the final special token; "refuse" throws.
   */
  readonly longer: "windows" | "cut" | "refuse";
  /** Whether the longest records of the file are among those that are drawn, as 2 % of them; default: by chance. */
  readonly withLongest?: boolean;
  /** See `readRecords`. */
  readonly column?: string | undefined;
}

/** Token sequences, and what `favor.json` records about their origin. */
export interface LoadedSequences {
  readonly sequences: readonly TokenSequence[];
  readonly use: DataUse;
}

/**
 * Draws records from a data file and tokenises them.
 *
 * @throws {InputError} `data-empty`, `data-malformed`, `column-unknown`, `sequence-too-long`, `file-unreadable`.
 */
export async function loadSequences(
  path: string,
  tokenizer: SequenceTokenizer,
  options: SequenceOptions,
): Promise<LoadedSequences> {
  const { records, added } = await drawRecords(path, options);
  if (records.length === 0) {
    throw new InputError(
      `${path} contains no sequences. Give a file of FASTA, text, JSON, CSV, TSV or Parquet with at least one.`,
      {
        code: "data-empty",
        details: { path },
      },
    );
  }
  const encoded = records.map((record) => tokenizer.encode(record, path));
  const { sequences, ...longer } = fitSequences(encoded, path, tokenizer, options);
  const tokens = sequences.reduce((sum, { ids }) => sum + ids.length, 0);
  const unknown = sequences.reduce((sum, sequence) => sum + sequence.unknown, 0);
  const first = encoded.find((sequence) => sequence.unknown * 2 > sequence.ids.length);
  if (first !== undefined) {
    throw malformed(path, first.line, `${first.unknown} of ${first.ids.length} tokens are unknown to the tokenizer`);
  }
  const sha256 = await hashFile(path);
  const { seed } = options;
  const use = {
    file: basename(path),
    sha256,
    sequences: sequences.length,
    tokens,
    unknown,
    ...longer,
    ...(added > 0 && { longest: added }),
    seed,
  };
  return { sequences, use };
}

async function drawRecords(
  path: string,
  { column, count, seed, withLongest = false }: SequenceOptions,
): Promise<{ readonly records: readonly DataRecord[]; readonly added: number }> {
  const all = readRecords(path, { column });
  if (!withLongest) return { records: await sampleOf(all, count, seed), added: 0 };
  const { sample, added } = await sampleWithLongest(all, count, ({ text }) => text.length, seed);
  return { records: sample, added };
}

/** Sequences that are not too long, and how they were made so. */
type FittedSequences = { readonly sequences: readonly TokenSequence[] } & Pick<
  DataUse,
  "truncated" | "windows" | "windowTokens"
>;

/**
 * Sequences of at most `maximumTokens`.
 *
 * @param encoded - sequences of any length.
 * @param path - the data file, for messages.
 * @throws {InputError} `sequence-too-long`, if longer ones are refused.
 */
export function fitSequences(
  encoded: readonly TokenSequence[],
  path: string,
  tokenizer: SequenceTokenizer,
  {
    maximumTokens = Infinity,
    longer,
    count,
    seed,
  }: Pick<SequenceOptions, "maximumTokens" | "longer" | "count" | "seed">,
): FittedSequences {
  const isLonger = ({ ids }: TokenSequence): boolean => ids.length > maximumTokens;
  const first = encoded.find(isLonger);
  if (first === undefined) return { sequences: encoded, truncated: 0 };
  if (longer === "refuse") throw tooLong(path, first, maximumTokens);
  if (longer === "cut") {
    const sequences = encoded.map((each) => (isLonger(each) ? cutSequence(each, maximumTokens, tokenizer) : each));
    return { sequences, truncated: encoded.filter(isLonger).length };
  }
  const all = encoded.flatMap((sequence, number) =>
    isLonger(sequence)
      ? windowsOf(sequence, maximumTokens, tokenizer, { seed, number }).map((part) => ({ part, isWindow: true }))
      : [{ part: sequence, isWindow: false }],
  );
  const drawn = sampleOfAll(all, count, seed);
  return {
    sequences: drawn.map(({ part }) => part),
    truncated: 0,
    windows: drawn.filter(({ isWindow }) => isWindow).length,
    windowTokens: maximumTokens,
  };
}

function tooLong(path: string, { ids, line }: TokenSequence, maximumTokens: number): InputError {
  return new InputError(
    `${path}, ${unitOf(path)} ${line}: the sequence has ${ids.length} tokens, but the longest that is read here has ` +
      `${maximumTokens}: what the model's position table holds, or --max-length. Shorten or remove it, or pass --truncate ` +
      "to cut such sequences.",
    { code: "sequence-too-long", details: { path, line, tokens: ids.length, maximumTokens } },
  );
}

/** Cuts a sequence to `maximum` tokens, keeping a final special token. */
export function cutSequence(sequence: TokenSequence, maximum: number, tokenizer: SequenceTokenizer): TokenSequence {
  const last = sequence.ids.at(-1)!;
  const closing = tokenizer.specialIds.has(last) && last !== tokenizer.unknownId ? [last] : [];
  const ids = [...sequence.ids.slice(0, maximum - closing.length), ...closing];
  return { ids, line: sequence.line, unknown: ids.filter((id) => id === tokenizer.unknownId).length };
}

/**
 * Checks that every token id has a row in the model's embedding.
 *
 * @param rows - the embedding's rows according to config.json (`vocab_size`) or the model; undefined if unknown.
 * @throws {InputError} `tokenizer-mismatch`.
 */
export function checkVocabulary(tokenizer: SequenceTokenizer, rows: number | undefined, folder: string): void {
  if (rows === undefined || tokenizer.size <= rows) return;
  throw new InputError(
    `The tokenizer of ${folder} has ids up to ${tokenizer.size - 1}, but the model's embedding has ${rows} rows. ` +
      `The tokenizer does not belong to the model: restore the checkpoint's own tokenizer files.`,
    { code: "tokenizer-mismatch", details: { tokenizer: tokenizer.size, rows } },
  );
}
