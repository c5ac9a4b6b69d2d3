import { InputError } from "@favor/checkpoints";
import { parseFasta } from "./fasta.ts";
import { refuseForeign } from "./foreign-formats.ts";
import { readJsonArray } from "./json-array.ts";
import { parseJsonLines } from "./json-lines.ts";
import { readLines } from "./lines.ts";
import type { Line } from "./lines.ts";
import { readParquet } from "./parquet.ts";
import type { DataRecord } from "./record.ts";
import { openRegularFile } from "./regular-file.ts";
import { readTable } from "./table.ts";
import { parseText } from "./text.ts";

type DataFormat = "fasta" | "text" | "json-lines" | "json" | "csv" | "tsv";

const extensions: Readonly<Record<string, DataFormat>> = {
  fasta: "fasta",
  fa: "fasta",
  faa: "fasta",
  fas: "fasta",
  txt: "text",
  text: "text",
  jsonl: "json-lines",
  ndjson: "json-lines",
  json: "json",
  csv: "csv",
  tsv: "tsv",
  tab: "tsv",
};

export interface ReadOptions {
  /** JSON field, or CSV, TSV or Parquet column, with the text. Default: `text`; in files without it, `sequence`. */
  readonly column?: string | undefined;
}

/** The format according to the file's name, ignoring `.gz`; undefined if the name does not tell. */
export function formatByName(path: string): DataFormat | undefined {
  const extension = /\.([a-z]+)(?:\.gz)?$/i.exec(path)?.[1]?.toLowerCase() ?? "";
  return Object.hasOwn(extensions, extension) ? extensions[extension] : undefined;
}

/**
 * The format according to the first line that is not blank: `>` is FASTA, `{` JSON Lines, `[` before an object, a string or
 * nothing a JSON array, anything else text.
 */
function formatByFirstLine(text: string): DataFormat {
  if (text.startsWith(">")) return "fasta";
  if (/^\s*\[\s*(?:[{"]|$)/.test(text)) return "json";
  return text.trimStart().startsWith("{") ? "json-lines" : "text";
}

/**
 * Streams the records of a data file: FASTA, text (one sequence per line), JSON Lines, a JSON array, CSV or TSV, each plain
 * or gzip-compressed, or Parquet. Parquet is recognised by its first bytes, the others by their extension (`.fasta .fa .faa
 * .fas`, `.txt .text`, `.jsonl .ndjson`, `.json`, `.csv`, `.tsv .tab`) or else by their first line. Other formats that are
 * known are refused by name, so that their lines are not taken for texts.
 *
 * @throws {InputError} `file-unreadable`, `data-malformed`, `column-unknown`.
 */
export async function* readRecords(path: string, options: ReadOptions = {}): AsyncGenerator<DataRecord, void> {
  const { handle, head } = await openRegularFile(path);
  await handle.close();
  if (head.subarray(0, 4).toString("latin1") === "PAR1") {
    yield* readParquet(path, options.column);
    return;
  }
  if (/\.parquet$/i.test(path)) {
    throw new InputError(
      `${path} is named .parquet, but does not begin with "PAR1" as Parquet files do. Get the file again, or rename it ` +
        `to match its format. A file of a few hundred bytes may be a git-LFS pointer: fetch the file with \`git lfs pull\`.`,
      { code: "data-malformed", details: { path } },
    );
  }
  refuseForeign(path, head);
  const named = formatByName(path);
  if (named === "csv" || named === "tsv") {
    yield* readTable(path, named, options.column);
    return;
  }
  const lines = readLines(path);
  const { first, all } = await peeked(lines);
  const found = formatByFirstLine(first);
  // Many files named .json hold one object per line.
  const format = named === "json" && found === "json-lines" && isJson(first) ? "json-lines" : (named ?? found);
  if (format === "json") {
    await lines.return();
    yield* readJsonArray(path, options.column);
  } else if (format === "fasta") yield* parseFasta(all, path);
  else if (format === "json-lines") yield* parseJsonLines(all, path, options.column);
  else yield* parseText(all, path);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** The first line that is not blank, and all lines from it on. */
async function peeked(lines: AsyncGenerator<Line, void>): Promise<{ first: string; all: AsyncIterable<Line> }> {
  const { value } = await lines.next();
  return value === undefined ? { first: "", all: lines } : { first: value.text, all: prepended(value, lines) };
}

async function* prepended(line: Line, rest: AsyncGenerator<Line, void>): AsyncGenerator<Line, void> {
  try {
    yield line;
    yield* rest;
  } finally {
    // Otherwise, a reader that stops at the first line would leave the file open.
    await rest.return();
  }
}
