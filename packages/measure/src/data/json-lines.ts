import { usualColumns } from "./columns.ts";
import { malformed } from "./lines.ts";
import type { Line } from "./lines.ts";
import { textRecord } from "./record.ts";
import type { DataRecord } from "./record.ts";

/**
 * Parses JSON Lines: one object per line, with a string field.
 *
 * @param column - the field's name. Default: `text`; in files whose first object lacks it, `sequence`.
 * @throws {InputError} `data-malformed`, naming the line.
 */
export async function* parseJsonLines(
  lines: AsyncIterable<Line>,
  path: string,
  column?: string,
): AsyncGenerator<DataRecord, void> {
  let name = column;
  for await (const { text: line, number } of lines) {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      throw malformed(path, number, "this is not a JSON object");
    }
    const object = typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
    const strings = Object.entries(object).flatMap(([key, each]) => (typeof each === "string" ? [key] : []));
    name ??= usualColumns.find((usual) => strings.includes(usual)) ?? usualColumns[0]!;
    const text = strings.includes(name) ? (object as Record<string, unknown>)[name] : undefined;
    if (typeof text !== "string") {
      const advice =
        strings.length === 0 ? undefined : `Name the field with --column: ${strings.slice(0, 8).join(", ")}.`;
      throw malformed(path, number, `there is no string field "${name}"`, advice);
    }
    if (text.trim() === "") throw malformed(path, number, `the field "${name}" is empty`);
    yield textRecord(text, number);
  }
}
