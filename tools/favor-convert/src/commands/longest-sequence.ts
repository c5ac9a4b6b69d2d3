import { maximumTokens } from "@favor/checkpoints/node";
import type { Source } from "@favor/checkpoints/node";
import { counted, grouped } from "@favor/measure/numbers";
import type { DataUse, SequenceOptions } from "@favor/measure/tokens";

/** The longest sequences of data files, and what becomes of longer ones. */
export type LongestSequence = Pick<SequenceOptions, "maximumTokens" | "longer">;

/**
 * The shorter of what the model reads and `--max-length`. A model whose graph sets no limit, such as one with rotary
 * positions, reads what its configuration says: it was not made for more, and softmax's memory grows with the square.
 *
 * @param longestInput - what the graph's position tables hold.
 */
export function longestSequence(
  source: Source,
  longestInput: Parameters<typeof maximumTokens>[1],
  { maxLength, truncate = false }: { readonly maxLength?: number | undefined; readonly truncate?: boolean | undefined },
): LongestSequence {
  const read = maximumTokens(source.config, longestInput) ?? maximumTokens(source.config) ?? Infinity;
  const longest = Math.min(read, maxLength ?? Infinity);
  return {
    maximumTokens: Number.isFinite(longest) ? longest : undefined,
    longer: truncate ? "cut" : "windows",
  };
}

/**
 * Says that sequences are parts of longer ones.
 *
 * @param what - "Calibration data" or "Evaluation data".
 */
export function windowsNote(what: string, { file, sequences, windows = 0, windowTokens = 0 }: DataUse): string[] {
  if (windows === 0) return [];
  const which = windows === sequences ? "all" : String(windows);
  return [
    `${what}: ${which} of the ${counted(sequences, "sequence")} of ${file} are windows of ${grouped(windowTokens)} tokens ` +
      "in longer ones. --max-length sets another length, up to what the model reads; --truncate takes their beginnings instead.",
  ];
}
