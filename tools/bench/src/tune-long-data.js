// Long inputs from short sequences, as in the Performer paper's concatenated variant: the sequences of a FASTA, shuffled, one
// after the other with one separator between two, until a line is full; the last one of a line is cut there.
import { readFileSync, writeFileSync } from "node:fs";

import { RandomStream, streamPurpose } from "@favor/core";

/** The sequences of a FASTA in random order, always the same. */
export function shuffledSequences(path) {
  const records = readFileSync(path, "utf8").split(/^>.*$/m).slice(1);
  const random = new RandomStream({ seed: 0, purpose: streamPurpose.sampling });
  const keyed = records.map((record) => ({ key: random.uniform(), sequence: record.replaceAll(/\s/g, "") }));
  return keyed.toSorted((a, b) => a.key - b.key).map(({ sequence }) => sequence);
}

/**
 * Writes a text file of full lines; a sequence is in one line, once.
 *
 * @param lengths - of the lines in tokens, taken in turn, the special tokens around each line counted. A line may be one
 * token shorter, where a separator would be its last.
 * @param separator - what the tokenizer writes between two sequences and reads as one token: `[SEP]`.
 * @returns how many lines there are.
 */
export function writeJoined(path, sequences, lengths, separator = "[SEP]") {
  const specialTokens = 2;
  const lines = [];
  let [parts, free] = [[], lengths[0] - specialTokens];
  for (const sequence of sequences) {
    parts.push(sequence.slice(0, free));
    free -= parts.at(-1).length;
    if (free > 1) {
      free -= 1;
      continue;
    }
    lines.push(parts.join(separator));
    [parts, free] = [[], lengths[lines.length % lengths.length] - specialTokens];
  }
  writeFileSync(path, lines.map((line) => `${line}\n`).join(""));
  return lines.length;
}

/** One sequence a line. */
export function writeSingle(path, sequences) {
  writeFileSync(path, sequences.map((sequence) => `${sequence}\n`).join(""));
  return sequences.length;
}
