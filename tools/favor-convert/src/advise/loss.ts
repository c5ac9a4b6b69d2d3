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
  switch (evaluation.kind) {
    case "masked-language":
    case "next-token":
      // The range has the share of the accuracy that is kept.
      return 100 * (last.original ?? evaluation.original.accuracy.value) * (1 - value);
    case "output-numbers":
      return 100 * value;
    case "embedding":
    case "classification":
    case "output-cosine":
      return 100 * (1 - value);
  }
}
