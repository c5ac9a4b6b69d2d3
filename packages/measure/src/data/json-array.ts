import { InputError } from "@favor/checkpoints";

import { chooseColumn } from "./columns.ts";
import { decodedText, lineLimit, malformed } from "./lines.ts";
import { textRecord } from "./record.ts";
import type { DataRecord } from "./record.ts";

/** The longest JSON array that is read, in characters: it is held in memory as a whole. */
const arrayLimit = 256 * 1024 * 1024;

/**
 * Reads a JSON array of objects with a string field, or of strings. The `line` of a record is the number of its item,
 * counted from 1.
 *
 * @param column - the field's name. Default: `text`; in arrays whose first object lacks it, `sequence`.
 * @throws {InputError} `data-malformed`, naming the item; `column-unknown`; `file-unreadable`.
 */
export async function* readJsonArray(path: string, column?: string): AsyncGenerator<DataRecord, void> {
  const items = await parsed(path);
  let name: string | undefined;
  for (const [index, item] of items.entries()) {
    const number = index + 1;
    if (typeof item === "string" && column === undefined) {
      yield recordOf(path, number, item, "it");
      continue;
    }
    if (typeof item !== "object" || item === null || Array.isArray(item)) {
      throw malformed(path, number, column === undefined ? "it is neither an object nor a string" : "it is no object");
    }
    const fields = Object.entries(item as Record<string, unknown>);
    const strings = fields.filter(([, value]) => typeof value === "string").map(([key]) => key);
    name ??= chooseColumn(
      path,
      strings,
      column,
      fields.map(([key, value]) => `${key}${typeof value === "string" ? "" : " (not text)"}`),
    );
    const text = fields.find(([key]) => key === name)?.[1];
    if (typeof text !== "string") throw malformed(path, number, `there is no string field "${name}"`);
    yield recordOf(path, number, text, `the field "${name}"`);
  }
}

function recordOf(path: string, number: number, text: string, what: string): DataRecord {
  if (text.trim() === "") throw malformed(path, number, `${what} is empty`);
  if (text.length > lineLimit) throw malformed(path, number, `${what} is longer than ${lineLimit} characters`);
  return textRecord(text, number);
}

async function parsed(path: string): Promise<unknown[]> {
  const pieces: string[] = [];
  let length = 0;
  for await (const piece of decodedText(path)) {
    length += piece.length;
    if (length > arrayLimit) {
      throw wrong(
        path,
        `is a JSON array of more than ${arrayLimit} characters`,
        "Save it as JSON Lines, which is streamed.",
      );
    }
    pieces.push(piece);
  }
  let value: unknown;
  try {
    value = JSON.parse(pieces.join(""));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw wrong(path, `is not JSON (${reason})`, "Get or save the file again.");
  }
  if (Array.isArray(value)) return value as unknown[];
  const arrays = Object.entries(value as Record<string, unknown>).flatMap(([key, each]) =>
    Array.isArray(each) ? [`"${key}"`] : [],
  );
  const inside = arrays.length === 0 ? "" : `, with the array ${arrays.slice(0, 4).join(", ")} inside`;
  throw wrong(
    path,
    `is one JSON object${inside}, not an array of records`,
    "Save the records as a JSON array, or as JSON Lines: one object per line.",
  );
}

function wrong(path: string, what: string, advice: string): InputError {
  return new InputError(`${path} ${what}. ${advice}`, { code: "data-malformed", details: { path, what } });
}
