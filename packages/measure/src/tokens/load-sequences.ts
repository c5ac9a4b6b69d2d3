import { basename } from "node:path";

import { hashFile } from "@favor/onnx/node";

import { readRecords } from "../data/data-file.ts";
import { malformed, unitOf } from "../data/lines.ts";
import { sampleOf } from "../data/sample.ts";
import { InputError } from "@favor/checkpoints";

import type { SequenceTokenizer, TokenSequence } from "./tokenizer.ts";

/** A data file, and what was read of it. */
export interface DataUse {
  readonly file: string;
  readonly sha256: string;
  readonly sequences: number;
  readonly tokens: number;
  /** How many tokens the tokenizer did not know. */
  readonly unknown: number;
  /** How many sequences were cut to the position table. */
  readonly truncated: number;
  /** Of the draw, and of the masks. */
  readonly seed: number;
}

export interface SequenceOptions {
  /** At most how many records, drawn from the whole file. */
  readonly count: number;
  /** Of the draw. */
  readonly seed: number;
  /** The longest sequence that the model takes, in tokens; undefined: no bound. */
  readonly maximumTokens: number | undefined;
  /** Cut longer sequences (keeping the final special token) instead of refusing them. */
  readonly truncate: boolean;
  /** See `readRecords`. */
  readonly column?: string | undefined;
}

/** Token sequences, and what `favor.json` says of where they came from. */
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
  const records = await sampleOf(readRecords(path, { column: options.column }), options.count, options.seed);
  if (records.length === 0) {
    throw new InputError(
      `${path} holds no sequence. Give a FASTA, text, JSON Lines or Parquet file with at least one.`,
      {
        code: "data-empty",
        details: { path },
      },
    );
  }
  const { maximumTokens = Infinity } = options;
  let truncated = 0;
  const sequences = records.map((record) => {
    const sequence = tokenizer.encode(record, path);
    if (sequence.ids.length <= maximumTokens) return sequence;
    if (!options.truncate) {
      throw new InputError(
        `${path}, ${unitOf(path)} ${sequence.line}: the sequence has ${sequence.ids.length} tokens, and the model's position ` +
          `table holds ${maximumTokens}. Shorten or remove it, or pass --truncate to cut such sequences.`,
        {
          code: "sequence-too-long",
          details: { path, line: sequence.line, tokens: sequence.ids.length, maximumTokens },
        },
      );
    }
    truncated++;
    return cutSequence(sequence, maximumTokens, tokenizer);
  });
  const tokens = sequences.reduce((sum, { ids }) => sum + ids.length, 0);
  const unknown = sequences.reduce((sum, sequence) => sum + sequence.unknown, 0);
  const first = sequences.find((sequence) => sequence.unknown * 2 > sequence.ids.length);
  if (first !== undefined) {
    throw malformed(path, first.line, `${first.unknown} of ${first.ids.length} tokens are unknown to the tokenizer`);
  }
  const sha256 = await hashFile(path);
  const { seed } = options;
  const use = { file: basename(path), sha256, sequences: sequences.length, tokens, unknown, truncated, seed };
  return { sequences, use };
}

/** The first `maximum` tokens of a sequence; a final special token stays the last one. */
export function cutSequence(sequence: TokenSequence, maximum: number, tokenizer: SequenceTokenizer): TokenSequence {
  const last = sequence.ids.at(-1)!;
  const closing = tokenizer.specialIds.has(last) && last !== tokenizer.unknownId ? [last] : [];
  const ids = [...sequence.ids.slice(0, maximum - closing.length), ...closing];
  return { ids, line: sequence.line, unknown: ids.filter((id) => id === tokenizer.unknownId).length };
}

/**
 * Checks that every token id has a row in the model's embedding.
 *
 * @param rows - the embedding's rows, as config.json (`vocab_size`) or the model says; undefined: not known.
 * @throws {InputError} `tokenizer-mismatch`.
 */
export function checkVocabulary(tokenizer: SequenceTokenizer, rows: number | undefined, folder: string): void {
  if (rows === undefined || tokenizer.size <= rows) return;
  throw new InputError(
    `The tokenizer of ${folder} has ids up to ${tokenizer.size - 1}, but the model's embedding has ${rows} rows. ` +
      `The tokenizer is not the model's: put the checkpoint's own tokenizer files there.`,
    { code: "tokenizer-mismatch", details: { tokenizer: tokenizer.size, rows } },
  );
}
