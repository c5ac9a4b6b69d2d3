import { malformed } from "./lines.ts";
import type { Line } from "./lines.ts";
import { textRecord } from "./record.ts";
import type { DataRecord } from "./record.ts";

/**
 * Parses JSON Lines: one object per line, with a string field.
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
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      throw malformed(path, number, "this is not a JSON object");
    }
    const object = typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
    const text = (object as Record<string, unknown>)[column];
    if (typeof text !== "string") {
      const others = Object.entries(object).flatMap(([name, each]) => (typeof each === "string" ? [name] : []));
      const advice =
        others.length === 0 ? undefined : `Name the field with --column: ${others.slice(0, 8).join(", ")}.`;
      throw malformed(path, number, `there is no string field "${column}"`, advice);
    }
    if (text.trim() === "") throw malformed(path, number, `the field "${column}" is empty`);
    yield textRecord(text, number);
  }
}
