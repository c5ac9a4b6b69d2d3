import { cutSequence, windowsOf } from "@favor/measure/tokens";
import { malformed } from "@favor/measure/data";
import type { DataRecord } from "@favor/measure/data";
import type { SequenceTokenizer, TokenSequence } from "@favor/measure/tokens";

import { Packing } from "./packing.ts";

/** How records become sequences of at most `maximumTokens`. */
export interface Arrangement {
  readonly tokenizer: SequenceTokenizer;
  /** The longest sequence; undefined: no limit. */
  readonly maximumTokens: number | undefined;
  /** What becomes of a longer one: windows spread over it, or its beginning. */
  readonly longer: "windows" | "cut";
  /** Whether sequences are packed into windows of `maximumTokens`; see {@link Packing}. */
  readonly pack: boolean;
  readonly seed: number;
}

/** Some of the records, as sequences. */
export interface Arranged {
  readonly sequences: readonly TokenSequence[];
  /** The first record that is not among them. */
  readonly next: number;
}

/**
 * Takes records until they give a number of sequences.
 *
 * @param first - the record to begin with.
 * @param wanted - the least number of sequences; fewer if the records end.
 * @param path - the data file, for messages.
 * @param epoch - the pass over the data: each has other windows.
 * @throws {InputError} `data-malformed`, naming the line.
 */
export function arranged(
  records: readonly DataRecord[],
  first: number,
  wanted: number,
  path: string,
  epoch: number,
  { tokenizer, maximumTokens = Infinity, longer, pack, seed }: Arrangement,
): Arranged {
  const packing = pack ? new Packing(maximumTokens, tokenizer) : undefined;
  const sequences: TokenSequence[] = [];
  let next = first;
  while (next < records.length && sequences.length < wanted) {
    const sequence = sequenceOf(records[next++]!, path, tokenizer);
    if (packing !== undefined) sequences.push(...packing.add(sequence));
    else if (sequence.ids.length <= maximumTokens) sequences.push(sequence);
    else if (longer === "cut") sequences.push(cutSequence(sequence, maximumTokens, tokenizer));
    else
      sequences.push(
        ...windowsOf(sequence, maximumTokens, tokenizer, {
          seed: (seed + epoch) % Number.MAX_SAFE_INTEGER,
          number: sequence.line,
        }),
      );
  }
  return { sequences: [...sequences, ...(packing?.rest() ?? [])], next };
}

/**
 * Encodes a record.
 *
 * @throws {InputError} `data-malformed`, naming the line.
 */
export function sequenceOf(record: DataRecord, path: string, tokenizer: SequenceTokenizer): TokenSequence {
  const sequence = tokenizer.encode(record, path);
  if (sequence.unknown * 2 <= sequence.ids.length) return sequence;
  const what = `${sequence.unknown} of ${sequence.ids.length} tokens are unknown to the tokenizer`;
  throw malformed(path, record.line, what);
}
