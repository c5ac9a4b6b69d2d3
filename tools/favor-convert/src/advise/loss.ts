import type { Evaluation } from "@favor/measure";
import { lossInPoints } from "@favor/measure/judgement";

/** The longest range of lengths counts on its own if it has so many sequences, and this share of them. */
const enough = { sequences: 8, share: 0.1 };

/**
 * The points that a conversion loses on the longest of the sequences it was measured on: those of the last range of lengths
 * that has enough. Points are those of `lossInPoints`.
 */
export function lossAtLongest(evaluation: Evaluation): number {
  const bins = evaluation.byLength;
  const least = Math.max(enough.sequences, enough.share * evaluation.data.sequences);
  const last = bins.findLast(({ sequences, value }) => value !== undefined && sequences >= least);
  if (last?.value === undefined || bins.length === 1) return lossInPoints(evaluation);
  const { value } = last.value;
  if (evaluation.kind !== "masked-language" && evaluation.kind !== "next-token")
    return lossInPoints(evaluation, { value });
  // Of an accuracy, the range has the share that is kept.
  const { original = evaluation.original.accuracy.value } = last;
  return lossInPoints(evaluation, { value: original * value, original });
}
