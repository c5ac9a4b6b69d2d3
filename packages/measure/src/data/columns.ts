import { InputError } from "@favor/checkpoints";

/** The columns that are read if none is named: the first of these that the data have. */
export const usualColumns: readonly string[] = ["text", "sequence"];

/**
 * The column to read, of a table or of objects.
 *
 * @param columns - names of the columns that hold text.
 * @param wanted - the column that the user named.
 * @param shown - all columns, for the message.
 * @throws {InputError} `column-unknown`, naming the columns.
 */
export function chooseColumn(
  path: string,
  columns: readonly string[],
  wanted: string | undefined,
  shown: readonly string[] = columns,
): string {
  const found = (wanted === undefined ? usualColumns : [wanted]).find((name) => columns.includes(name));
  if (found !== undefined) return found;
  const names = shown.slice(0, 30);
  const asked = wanted === undefined ? `of text named ${usualColumns.join(" or ")}` : `of text named ${wanted}`;
  throw new InputError(
    `${path} has no column ${asked}. Its columns: ${names.join(", ")}. Choose the one with the sequences with --column.`,
    { code: "column-unknown", details: { path, column: wanted ?? null, columns: names } },
  );
}
