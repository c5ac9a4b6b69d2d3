import { malformed } from "./lines.ts";
import type { Line } from "./lines.ts";
import type { DataRecord } from "./record.ts";

/** The longest sequence that is accepted, in residues. The longest known protein has 38,138. */
const residueLimit = 1024 * 1024;

/** The most comment lines in a row. A small compressed file may unfold into hundreds of millions. */
const commentLimit = 1_000_000;

/** An unfinished sequence: one piece per line. */
interface Pending {
  readonly line: number;
  readonly pieces: { readonly start: number; readonly line: number; readonly text: string }[];
  length: number;
  /** The line of a final `*` (stop), which nothing may follow. */
  stop?: number;
}

/**
 * Parses FASTA. Sequences may span any number of lines after their `>` header; blank lines and `;` comments are skipped,
 * and a final `*` (stop codon) is dropped. Letters keep their case: the tokenizer decides about lower case and about U,
 * Z, O, B, X and J. Gaps, digits and a `*` inside a sequence are refused.
 *
 * @param lines - the file's lines.
 * @param path - the file, for messages.
 * @throws {InputError} `data-malformed`, naming the line.
 */
export async function* parseFasta(lines: AsyncIterable<Line>, path: string): AsyncGenerator<DataRecord, void> {
  let pending: Pending | undefined;
  let comments = 0;
  for await (const { text, number } of lines) {
    if (text.startsWith(">")) {
      comments = 0;
      if (pending !== undefined) yield finished(pending, path);
      pending = { line: number, pieces: [], length: 0 };
      continue;
    }
    if (text.startsWith(";")) {
      if (++comments > commentLimit) throw malformed(path, number, `more than ${commentLimit} comment lines in a row`);
      continue;
    }
    comments = 0;
    if (pending === undefined) {
      throw malformed(path, number, `a FASTA file begins with a header line ">name", found ${shown(text)}`);
    }
    append(pending, text.trim(), number, path);
  }
  if (pending !== undefined) yield finished(pending, path);
}

function append(pending: Pending, piece: string, line: number, path: string): void {
  if (pending.stop !== undefined) {
    throw malformed(path, pending.stop, `there is a stop "*" inside a sequence; only a final one is accepted`);
  }
  const text = piece.endsWith("*") ? piece.slice(0, -1) : piece;
  if (text.length < piece.length) pending.stop = line;
  const illegal = /[^A-Za-z]/u.exec(text);
  if (illegal !== null) {
    const found = illegal[0];
    const hint =
      found === "-" || found === "."
        ? " (a gap: use the unaligned sequences, or remove the gaps)"
        : found === "*"
          ? " (a stop inside the sequence)"
          : "";
    throw malformed(path, line, `${JSON.stringify(found)} at column ${illegal.index + 1} is not a residue${hint}`);
  }
  if (text !== "") pending.pieces.push({ start: pending.length, line, text });
  pending.length += text.length;
  if (pending.length > residueLimit)
    throw malformed(path, line, `the sequence is longer than ${residueLimit} residues`);
}

function finished(pending: Pending, path: string): DataRecord {
  const { pieces } = pending;
  if (pieces.length === 0) throw malformed(path, pending.line, "the header has no sequence");
  return {
    kind: "residues",
    text: pieces.map((piece) => piece.text).join(""),
    line: pending.line,
    lineOf: (offset) => pieces.findLast((piece) => piece.start <= offset)?.line ?? pending.line,
  };
}

function shown(text: string): string {
  return JSON.stringify(text.length > 30 ? `${text.slice(0, 30)}...` : text);
}
