import { malformed } from "./lines.ts";
import type { Line } from "./lines.ts";
import { textRecord } from "./record.ts";
import type { DataRecord } from "./record.ts";

/**
 * Parses JSON Lines: one object a line with a string field; blank lines skipped.
 *
 * @param column - the field's name; default `text`.
 * @throws {InputError} `data-malformed`, naming the line.
 */
export async function* parseJsonLines(
  lines: AsyncIterable<Line>,
  path: string,
  column = "text",
): AsyncGenerator<DataRecord, void> {
  for await (const { text: line, number } of lines) {
    if (line.trim() === "") continue;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      throw malformed(path, number, "this is not a JSON object");
    }
    const text = typeof value === "object" && value !== null ? (value as Record<string, unknown>)[column] : undefined;
    if (typeof text !== "string") throw malformed(path, number, `there is no string field "${column}"`);
    if (text.trim() === "") throw malformed(path, number, `the field "${column}" is empty`);
    yield textRecord(text, number);
  }
}
