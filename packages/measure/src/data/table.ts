import { pipeline, Readable } from "node:stream";

import type { CsvError, Info } from "csv-parse";

import { chooseColumn } from "./columns.ts";
import { decodedText, lineLimit, malformed, withoutLoneReturns } from "./lines.ts";
import { textRecord } from "./record.ts";
import type { DataRecord } from "./record.ts";

/** The longest row of a table, in characters. */
const rowLimit = 16 * 1024 * 1024;

/** What separates the fields of a .csv file, the usual one first: spreadsheets write ";" where "," separates decimals. */
const delimiters: readonly string[] = [",", ";", "\t"];

interface Row {
  readonly record: readonly string[];
  readonly info: Info;
}

/**
 * Streams one column of a CSV or TSV file (RFC 4180: fields may be quoted). The first row names the columns. The `line` of
 * a record is that where its row ends.
 *
 * @param kind - "tsv": tabs separate the fields; "csv": whichever of comma, semicolon and tab the first row has most of.
 * @param column - the column's name. Default: `text`; in files without it, `sequence`.
 * @throws {InputError} `column-unknown`, naming the columns; `data-malformed`, naming the line, for a row of another number
 * of fields, a quote that is not closed, or an empty text; `file-unreadable`.
 */
export async function* readTable(path: string, kind: "csv" | "tsv", column?: string): AsyncGenerator<DataRecord, void> {
  // Loaded when it is needed: most data are no tables.
  const { parse } = await import("csv-parse");
  const text = withLineFeeds(decodedText(path));
  const { value: head } = await text.next();
  if (head === undefined) return;
  const delimiter = kind === "tsv" ? "\t" : mostFrequent(firstRow(head));
  const parser = parse({
    delimiter,
    info: true,
    skip_empty_lines: true,
    max_record_size: rowLimit,
    record_delimiter: "\n",
  });
  // `pipeline` passes the errors of the file on to whoever reads the rows.
  pipeline(Readable.from(prepended(head, text)), parser, () => {});
  let chosen: { readonly name: string; readonly at: number } | undefined;
  try {
    for await (const { record, info } of parser as AsyncIterable<Row>) {
      if (chosen === undefined) {
        chosen = columnOf(path, record, info.lines, column);
        continue;
      }
      const value = record[chosen.at]!;
      const where = `the column ${JSON.stringify(chosen.name)}`;
      if (value.trim() === "") throw malformed(path, info.lines, `${where} is empty`);
      if (value.length > lineLimit) {
        throw malformed(path, info.lines, `${where} is longer than ${lineLimit} characters`);
      }
      yield textRecord(value, info.lines);
    }
  } catch (error) {
    throw isTableFault(error) ? tableFault(path, error) : error;
  }
}

function columnOf(
  path: string,
  header: readonly string[],
  line: number,
  wanted: string | undefined,
): { readonly name: string; readonly at: number } {
  const names = header.map((name) => name.trim());
  const name = chooseColumn(path, names, wanted);
  const at = names.indexOf(name);
  if (at === names.lastIndexOf(name)) return { name, at };
  throw malformed(path, line, `two columns are named ${JSON.stringify(name)}`, "Rename one of them.");
}

/** The parser would count `\r\n` in a quoted field as two lines. */
async function* withLineFeeds(chunks: AsyncIterable<string>): AsyncGenerator<string, void> {
  for await (const chunk of withoutLoneReturns(chunks)) yield chunk.replaceAll("\r\n", "\n");
}

async function* prepended(head: string, rest: AsyncGenerator<string, void>): AsyncGenerator<string, void> {
  try {
    yield head;
    yield* rest;
  } finally {
    // A parser that stops at the first chunk would leave the file open.
    await rest.return();
  }
}

const firstRow = (head: string): string => /^[^\n\r]*/.exec(head.trimStart())![0];

function mostFrequent(row: string): string {
  const counts = delimiters.map((delimiter) => row.split(delimiter).length - 1);
  return delimiters[counts.indexOf(Math.max(...counts))]!;
}

function isTableFault(error: unknown): error is CsvError {
  return (
    error instanceof Error &&
    "code" in error &&
    typeof error.code === "string" &&
    /^CSV_|^INVALID_OPENING_QUOTE$/.test(error.code)
  );
}

/** The parser's own messages, in our words where they are common. */
const faults: Readonly<Record<string, string>> = {
  CSV_RECORD_INCONSISTENT_FIELDS_LENGTH: "the row has another number of fields than the first one",
  CSV_QUOTE_NOT_CLOSED: "a quote is not closed",
  CSV_INVALID_CLOSING_QUOTE: "a quoted field goes on after its closing quote",
  INVALID_OPENING_QUOTE: "a quote stands inside a field that is not quoted",
  CSV_MAX_RECORD_SIZE: `a row is longer than ${rowLimit} characters`,
};

function tableFault(path: string, error: CsvError): Error {
  const line = typeof error["lines"] === "number" ? error["lines"] : 1;
  return malformed(
    path,
    line,
    faults[error.code] ?? error.message,
    "Fields with separators, quotes or line ends must be quoted, and quotes in them doubled. Correct that row.",
  );
}
