import type { InputError } from "@favor/checkpoints";
import { malformed } from "./lines.ts";
import type { Line } from "./lines.ts";
import { textRecord } from "./record.ts";
import type { DataRecord } from "./record.ts";

/** The first lines, by which a file is recognised as something else than text. */
const linesSeen = 8;
/** Columns of names alone, such as `id,text,label`. */
const header = /^\w+(,\w+)+$/;

/**
 * Parses plain text: one sequence per line.
 *
 * @throws {InputError} `data-malformed` for FASTA, and for a table: its first lines have the same number of tabs, or of
 *   commas below a line of names.
 */
export async function* parseText(lines: AsyncIterable<Line>, path: string): AsyncGenerator<DataRecord, void> {
  let first: Line[] | undefined = [];
  for await (const line of lines) {
    if (first === undefined) {
      yield textRecord(line.text, line.number);
      continue;
    }
    first.push(line);
    if (first.length < linesSeen) continue;
    yield* recordsOf(first, path);
    first = undefined;
  }
  if (first !== undefined) yield* recordsOf(first, path);
}

function* recordsOf(lines: readonly Line[], path: string): Generator<DataRecord, void> {
  const refusal = otherFormat(lines, path);
  if (refusal !== undefined) throw refusal;
  for (const { text, number } of lines) yield textRecord(text, number);
}

/** Headers would be taken for texts, and whole rows with their ids and labels. */
function otherFormat(lines: readonly Line[], path: string): InputError | undefined {
  const [head, next] = lines;
  if (head === undefined || next === undefined) return undefined;
  if (head.text.startsWith(">") && /^[A-Za-z*-]+$/.test(next.text)) {
    const found = "a line that begins with > and one of letters alone follow each other, as in FASTA";
    return malformed(path, head.number, found, "Name the file .fasta, or give the sequences alone, one per line.");
  }
  const table = (fields: number, separator: string, extension: string): InputError =>
    malformed(
      path,
      head.number,
      `each line has ${fields} fields separated by ${separator}, as in a table`,
      `Name the file ${extension} to read one column of it (--column), or give the texts alone, one per line.`,
    );
  const tabs = fieldsOfAll(lines, "\t");
  if (tabs !== undefined) return table(tabs, "tabs", ".tsv");
  const commas = fieldsOfAll(lines, ",");
  // Prose has commas too, but hardly as many in each of so many lines.
  const isTable = header.test(head.text) || lines.length === linesSeen;
  return commas !== undefined && isTable ? table(commas, "commas", ".csv") : undefined;
}

/** How many fields each line has, if it is more than one and the same for all; quotes hide separators. */
function fieldsOfAll(lines: readonly Line[], separator: string): number | undefined {
  const [fields = 1, ...others] = lines.map(
    ({ text }) => text.replaceAll(/"(?:[^"]|"")*"/g, "").split(separator).length,
  );
  return fields > 1 && others.every((count) => count === fields) ? fields : undefined;
}
