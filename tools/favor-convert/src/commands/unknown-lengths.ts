import { grouped } from "@favor/measure/numbers";
import type { LoadedSequences } from "@favor/measure/tokens";

/** Data that reach this share of the model's longest input count as reaching it. */
const reached = 0.9;

interface Seen {
  readonly calibration: LoadedSequences | undefined;
  readonly evaluation: LoadedSequences | undefined;
}

/**
 * Says up to which length anything is known of a conversion, if the model takes longer inputs than its data have.
 *
 * @param longest - the longest input of the model in tokens; undefined: no limit.
 */
export function unknownLengths({ calibration, evaluation }: Seen, longest: number | undefined): string[] {
  const seen = [calibration, evaluation].filter((data) => data !== undefined).map(longestOf);
  const most = Math.min(...seen);
  if (seen.length === 0 || most >= reached * (longest ?? Infinity)) return [];
  const what = [
    calibration && `calibrated on sequences of at most ${grouped(longestOf(calibration))} tokens`,
    evaluation && `measured on sequences of at most ${grouped(longestOf(evaluation))} tokens`,
  ].filter((part) => part !== undefined);
  const takes = longest === undefined ? "sequences of any length" : `up to ${grouped(longest)} tokens`;
  return [
    `The conversion was ${what.join(" and ")}, and the model takes ${takes}: nothing is known ` +
      `of its quality beyond ${grouped(most)}. Use data as long as what you will use it for.`,
  ];
}

function longestOf({ sequences }: LoadedSequences): number {
  return sequences.reduce((most, { ids }) => Math.max(most, ids.length), 0);
}
