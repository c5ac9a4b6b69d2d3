import type { Progress } from "@favor/checkpoints";
import type { FavorFile, FavorOptions } from "@favor/report";
import type { Evaluation } from "@favor/measure";
import { warningsAbout } from "@favor/measure/judgement";
import type { DataUse, DataWarning } from "@favor/measure/tokens";

import { doubtAboutDataLength, doubtAboutGain } from "./break-even.ts";
import type { BreakEven } from "./break-even.ts";

/** What is known of a conversion when it is done. */
export interface Finished {
  readonly evaluation: Evaluation | undefined;
  /** Number of tokens that the original chooses among; undefined if unknown. */
  readonly vocabulary: number | undefined;
  readonly breakEven: BreakEven | undefined;
  readonly options: FavorOptions;
  readonly sites: FavorFile["sites"];
  readonly calibration: DataUse | undefined;
}

/** Warns of a measurement that says nothing, of a quality that is low, and of inputs that are too short to gain. */
export async function conversionDoubts(
  { evaluation, vocabulary, breakEven, options, sites, calibration }: Finished,
  progress: Progress,
): Promise<DataWarning[]> {
  const aboutGain = doubtAboutGain(breakEven) ?? doubtAboutDataLength(options, sites, calibration);
  const doubts = [...(await qualityDoubts(evaluation, vocabulary)), aboutGain];
  const found = doubts.filter((doubt) => doubt !== undefined);
  for (const { message } of found) progress.warn(message);
  return found;
}

async function qualityDoubts(
  evaluation: Evaluation | undefined,
  vocabulary: number | undefined,
): Promise<DataWarning[]> {
  if (evaluation === undefined) return [];
  const { doubtAboutOriginal } = await import("@favor/measure");
  const doubt = vocabulary === undefined ? undefined : doubtAboutOriginal(evaluation, vocabulary);
  // What is kept of a quality by chance says nothing.
  return doubt === undefined ? warningsAbout(evaluation) : [doubt];
}
