import { malformed } from "./lines.ts";
import type { Line } from "./lines.ts";
import { textRecord } from "./record.ts";
import type { DataRecord } from "./record.ts";

/**
 * Parses JSON Lines: one object a line with a string field `text`; blank lines skipped.
 *
 * @throws {InputError} `data-malformed`, naming the line.
 */
export async function* parseJsonLines(lines: AsyncIterable<Line>, path: string): AsyncGenerator<DataRecord, void> {
  for await (const { text, number } of lines) {
    if (text.trim() === "") continue;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw malformed(path, number, "this is not a JSON object");
    }
    if (typeof value !== "object" || value === null || !("text" in value) || typeof value.text !== "string") {
      throw malformed(path, number, `there is no string field "text"`);
    }
    if (value.text.trim() === "") throw malformed(path, number, `the field "text" is empty`);
    yield textRecord(value.text, number);
  }
}
