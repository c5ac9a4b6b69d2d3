/** Columns of a terminal that says nothing of its width. */
export const usualColumns = 80;

/**
 * Text in lines of at most `columns` characters, broken at spaces, each but the first indented. A longer word (a path, a
 * hash) keeps a line of its own.
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
