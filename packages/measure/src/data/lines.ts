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
 * The most blank text between two lines that hold something, in characters. A few kilobytes of gzip unfold into gigabytes
 * of line ends; nobody's data hold so many.
 */
const blankLimit: number = 256 * 1024 * 1024;

/**
 * Streams the lines of a UTF-8 text file, without the blank ones. Gzip compression is recognised by the first bytes, not by the name. A
 * byte-order mark is dropped, and `\r\n` counts as one line end. Only one line and one chunk are in memory at a time.
 *
 * @throws {InputError} `file-unreadable`, `data-malformed` (not UTF-8, binary, a broken gzip stream, a line above
 * {@link lineLimit}, more blank lines than {@link blankLimit} allows), naming the line.
 */
export async function* readLines(path: string): AsyncGenerator<Line, void> {
  let number = 1;
  try {
    let rest = "";
    let blank = 0;
    for await (const chunk of decodedChunks(path)) {
      if (chunk.includes("\0"))
        throw malformed(path, number, "the file contains zero bytes, so it is not a text file", otherFile);
      const text = rest + chunk;
      let start = 0;
      for (let end = text.indexOf("\n"); end !== -1; end = text.indexOf("\n", start)) {
        // A line end straight after another is the commonest blank line, and costs no string.
        const line = end === start ? "" : withoutReturn(text.slice(start, end));
        if (line === "" || line.trim() === "") {
          blank += end + 1 - start;
          if (blank > blankLimit) throw malformed(path, number, `more than ${blankLimit} characters of blank lines`);
        } else {
          blank = 0;
          yield { text: withinLimit(path, number, line), number };
        }
        number++;
        start = end + 1;
      }
      rest = text.slice(start);
      withinLimit(path, number, rest);
    }
    if (rest.trim() !== "") yield { text: withoutReturn(rest), number };
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
    const bytes =
      magic[0] === 0x1f && magic[1] === 0x8b ? pipeline(raw, createGunzip({ chunkSize: 256 * 1024 }), () => {}) : raw;
    const decoder = new TextDecoder("utf-8", { fatal: true });
    for await (const chunk of bytes as AsyncIterable<Buffer>) yield decoder.decode(chunk, { stream: true });
    yield decoder.decode();
  } finally {
    await handle.close();
  }
}

function withoutReturn(line: string): string {
  return line.endsWith("\r") ? line.slice(0, -1) : line;
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
