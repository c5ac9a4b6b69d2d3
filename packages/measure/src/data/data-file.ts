import { InputError } from "@favor/checkpoints";
import { parseFasta } from "./fasta.ts";
import { parseJsonLines } from "./json-lines.ts";
import { readLines } from "./lines.ts";
import type { Line } from "./lines.ts";
import { readParquet } from "./parquet.ts";
import type { DataRecord } from "./record.ts";
import { openRegularFile } from "./regular-file.ts";
import { parseText } from "./text.ts";

type DataFormat = "fasta" | "text" | "json-lines";

const extensions: Readonly<Record<string, DataFormat>> = {
  fasta: "fasta",
  fa: "fasta",
  faa: "fasta",
  fas: "fasta",
  txt: "text",
  text: "text",
  jsonl: "json-lines",
  ndjson: "json-lines",
};

export interface ReadOptions {
  /** JSON Lines field or Parquet column with the text. Default: `text`; in Parquet files without it, `sequence`. */
  readonly column?: string | undefined;
}

/** The format according to the file's name, ignoring `.gz`; undefined if the name does not tell. */
export function formatByName(path: string): DataFormat | undefined {
  const extension = /\.([a-z]+)(?:\.gz)?$/i.exec(path)?.[1]?.toLowerCase() ?? "";
  return Object.hasOwn(extensions, extension) ? extensions[extension] : undefined;
}

/** The format according to the first line that is not blank: `>` is FASTA, `{` JSON Lines, anything else text. */
function formatByFirstLine(text: string): DataFormat {
  if (text.startsWith(">")) return "fasta";
  return text.trimStart().startsWith("{") ? "json-lines" : "text";
}

/**
 * Streams the records of a data file: FASTA, text (one sequence per line) or JSON Lines, each plain or gzip-compressed,
 * or Parquet. Parquet is recognised by its first bytes, the others by their extension (`.fasta .fa .faa .fas`,
 * `.txt .text`, `.jsonl .ndjson`) or else by their first line.
 *
 * @throws {InputError} `file-unreadable`, `data-malformed`, `column-unknown`.
 */
export async function* readRecords(path: string, options: ReadOptions = {}): AsyncGenerator<DataRecord, void> {
  if (await isParquet(path)) {
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
  const lines = readLines(path);
  const { first, all } = await peeked(lines);
  const format = formatByName(path) ?? formatByFirstLine(first);
  if (format === "fasta") yield* parseFasta(all, path);
  else if (format === "json-lines") yield* parseJsonLines(all, path, options.column);
  else yield* parseText(all);
}

async function isParquet(path: string): Promise<boolean> {
  const { handle, magic } = await openRegularFile(path);
  await handle.close();
  return magic.toString("latin1") === "PAR1";
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
