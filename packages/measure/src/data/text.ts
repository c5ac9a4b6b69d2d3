import type { Line } from "./lines.ts";
import { textRecord } from "./record.ts";
import type { DataRecord } from "./record.ts";

/** Parses plain text: one sequence per line. */
export async function* parseText(lines: AsyncIterable<Line>): AsyncGenerator<DataRecord, void> {
  for await (const { text, number } of lines) {
    yield textRecord(text, number);
  }
}
