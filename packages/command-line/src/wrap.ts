/** Assumed width of a terminal that does not report one, in columns. */
export const usualColumns = 80;

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
