import { pipeline } from "node:stream";
import { createGunzip } from "node:zlib";

import { InputError, messageOf, systemCode } from "@favor/checkpoints";
import { openRegularFile, unreadable } from "./regular-file.ts";

const otherFile = "Give a FASTA, text, JSON Lines or Parquet file, plain or gzip-compressed.";

/** One line of a text file, without its line end. */
export interface Line {
  readonly text: string;
  /** Counted from 1. */
  readonly number: number;
}

/** The longest line that is accepted, in characters: far more than a Transformer reads, far less than memory holds. */
export const lineLimit: number = 1024 * 1024;

/**
 * Streams the lines of a UTF-8 text file. Gzip compression is recognised by the first bytes, not by the name. A
 * byte-order mark is dropped, and `\r\n` counts as one line end. Only one line and one chunk are in memory at a time.
 *
 * @throws {InputError} `file-unreadable`, `data-malformed` (not UTF-8, binary, a broken gzip stream, a line above
 * {@link lineLimit}), naming the line.
 */
export async function* readLines(path: string): AsyncGenerator<Line, void> {
  let number = 1;
  try {
    let rest = "";
    for await (const chunk of decodedChunks(path)) {
      if (chunk.includes("\0"))
        throw malformed(path, number, "the file contains zero bytes, so it is not a text file", otherFile);
      const pieces = (rest + chunk).split("\n");
      rest = pieces.pop()!;
      for (const piece of pieces) {
        yield { text: withinLimit(path, number, piece.endsWith("\r") ? piece.slice(0, -1) : piece), number };
        number++;
      }
      withinLimit(path, number, rest);
    }
    if (rest !== "") yield { text: rest.endsWith("\r") ? rest.slice(0, -1) : rest, number };
  } catch (error) {
    if (error instanceof InputError) throw error;
    const code = systemCode(error);
    if (code === "ERR_ENCODING_INVALID_ENCODED_DATA")
      throw malformed(path, number, "the text is not UTF-8", "Save it as UTF-8, or give another file.");
    if (code !== undefined && /^Z_|^ERR_.*PREMATURE/.test(code)) {
      throw malformed(
        path,
        number,
        `the gzip stream is damaged or cut off (${messageOf(error)})`,
        "Get or compress the file again.",
      );
    }
    throw unreadable(path, error);
  }
}

async function* decodedChunks(path: string): AsyncGenerator<string, void> {
  const { handle, magic } = await openRegularFile(path);
  try {
    const raw = handle.createReadStream({ start: 0, autoClose: false, highWaterMark: 256 * 1024 });
    // `pipeline` passes the read stream's errors on to whoever reads its last stream.
    const bytes = magic[0] === 0x1f && magic[1] === 0x8b ? pipeline(raw, createGunzip(), () => {}) : raw;
    const decoder = new TextDecoder("utf-8", { fatal: true });
    for await (const chunk of bytes as AsyncIterable<Buffer>) yield decoder.decode(chunk, { stream: true });
    yield decoder.decode();
  } finally {
    await handle.close();
  }
}

function withinLimit(path: string, number: number, text: string): string {
  if (text.length > lineLimit) throw malformed(path, number, `the line is longer than ${lineLimit} characters`);
  return text;
}

/** What the `line` of a record counts: lines, or rows of a Parquet file. */
export function unitOf(path: string): "line" | "row" {
  return /\.parquet$/i.test(path) ? "row" : "line";
}

/**
 * The error for a data file that violates its format at a line (in a Parquet file, a row).
 *
 * @param advice - what to do; default: correct or remove the line.
 */
export function malformed(path: string, line: number, what: string, advice?: string): InputError {
  const unit = unitOf(path);
  return new InputError(
    `${path}, ${unit} ${line}: ${what}. ${advice ?? `Correct or remove that ${unit} and run again.`}`,
    {
      code: "data-malformed",
      details: { path, line, what },
    },
  );
}
