import { malformed } from "./lines.ts";
import type { Line } from "./lines.ts";
import { textRecord } from "./record.ts";
import type { DataRecord } from "./record.ts";

/** Lines that must have the same number of tabs before they are taken for a table. */
const enoughRows = 4;

/**
 * Parses plain text: one sequence per line.
 *
 * @throws {InputError} `data-malformed` for a table: the first four lines have the same number of tabs.
 */
export async function* parseText(lines: AsyncIterable<Line>, path: string): AsyncGenerator<DataRecord, void> {
  const first: Line[] = [];
  for await (const line of lines) {
    if (first.length < enoughRows) {
      first.push(line);
      if (first.length < enoughRows) continue;
      refuseTable(first, path);
      for (const { text, number } of first) yield textRecord(text, number);
      continue;
    }
    yield textRecord(line.text, line.number);
  }
  if (first.length < enoughRows) for (const { text, number } of first) yield textRecord(text, number);
}

/** Whole rows would be taken for texts, with their ids and labels. */
function refuseTable(lines: readonly Line[], path: string): void {
  const [tabs = 0, ...others] = lines.map(({ text }) => text.split("\t").length - 1);
  if (tabs === 0 || others.some((count) => count !== tabs)) return;
  throw malformed(
    path,
    lines[0]!.number,
    `each line has ${tabs + 1} fields separated by tabs, as in a table`,
    "Name the file .tsv to read one column of it (--column), or give the texts alone, one per line.",
  );
}
