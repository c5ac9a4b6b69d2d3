/** Assumed width of a terminal that does not report one, in columns. */
export const usualColumns = 80;

/** Lines longer than this are hard to read. */
const mostColumns = 100;

/** Width of what is written to a stream: of the terminal, within reason; elsewhere `COLUMNS`, or {@link usualColumns}. */
export function columnsOf(
  stream: NodeJS.WritableStream,
  environment: Readonly<Record<string, string | undefined>>,
): number {
  const width = "columns" in stream ? Number(stream.columns) : Number(environment["COLUMNS"]);
  return width > 0 ? Math.min(mostColumns, Math.max(40, Math.floor(width))) : usualColumns;
}

/**
 * Breaks text at spaces into lines of at most `columns` characters, and indents all lines but the first. A longer word
 * (a path, a hash) gets a line of its own.
 */
export function wrapped(text: string, indent: string, columns: number = usualColumns): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (line === "" || longer.length + (lines.length > 0 ? indent.length : 0) <= columns) {
      line = longer;
    } else {
      lines.push(line);
      line = word;
    }
  }
  return [...lines, line].join(`\n${indent}`);
}
