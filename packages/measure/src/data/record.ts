/** One sequence of a data file. */
export interface DataRecord {
  /** `residues`: one token per character. `text`: tokens as the tokenizer sees fit. */
  readonly kind: "residues" | "text";
  readonly text: string;
  /** The line where the record begins, counted from 1; in a Parquet file, the row. */
  readonly line: number;
  /** The line of the character at an offset into `text`. */
  lineOf(offset: number): number;
}

export function textRecord(text: string, line: number): DataRecord {
  return { kind: "text", text, line, lineOf: () => line };
}
