import type { DataUse, DataWarning } from "@favor/measure/tokens";
import { grouped } from "@favor/measure/numbers";
import { breakEvenLength } from "@favor/report";
import type { FavorFile, FavorOptions, SiteCost } from "@favor/report";

import { timeBreakEven } from "../calibrate/attention-time.ts";

/** From how many tokens on the converted attention takes less computation than softmax. */
export interface BreakEven {
  /** In tokens, computed from multiply-adds. */
  readonly length: number;
  /** The longest input of the model in tokens; absent if there is no limit. */
  readonly longest?: number;
}

/** @returns undefined for attention that takes as much computation as softmax at every length. */
export function breakEvenOf(sites: readonly SiteCost[], longest: number | undefined): BreakEven | undefined {
  const length = breakEvenLength(sites);
  return length === undefined ? undefined : { length, ...(longest !== undefined && { longest }) };
}

/** Says where attention breaks even, as a sentence. */
export function describeBreakEven({ length }: BreakEven, what = "the converted attention"): string {
  return `From ${grouped(length)} tokens on, ${what} takes fewer multiply-adds than softmax (computed; times cross elsewhere on some machines).`;
}

/** Warns of a model whose inputs all are too short to gain. */
export function doubtAboutGain(breakEven: BreakEven | undefined): DataWarning | undefined {
  const { length, longest = Infinity } = breakEven ?? {};
  if (length === undefined || longest >= length) return undefined;
  return {
    code: "break-even-beyond-positions",
    message:
      `The model takes at most ${grouped(longest)} tokens, and linear attention takes less computation only from ` +
      `${grouped(length)} on: the converted model will not be faster. Use fewer features with --count, grow the position ` +
      `table with --max-length, or keep softmax (--features exact).`,
  };
}

/**
 * Warns where calibration chose exact keys that make inputs as long as its own data slower than exact attention. Time is that
 * of the model of cost (docs/adr/0024-defaults-by-calibration.md): multiply-adds break even much earlier.
 */
export function doubtAboutDataLength(
  { chosen = [] }: Pick<FavorOptions, "chosen">,
  sites: FavorFile["sites"],
  calibration: DataUse | undefined,
): DataWarning | undefined {
  const attentions = sites.flatMap(({ heads, exactKeys, featureMap }) =>
    exactKeys === undefined ? [] : [{ heads, work: { ...exactKeys, count: featureMap?.width ?? 0 } }],
  );
  if (chosen.length === 0 || calibration === undefined || attentions.length === 0) return undefined;
  const length = timeBreakEven(attentions);
  const usual = Math.round(calibration.tokens / Math.max(1, calibration.sequences));
  if (usual >= length) return undefined;
  return {
    code: "break-even-beyond-data",
    message:
      `The calibration data have ${grouped(usual)} tokens each on average. The exact keys and features that calibration chose ` +
      `are faster than exact attention from about ${grouped(length)} tokens on, and slower before (measured in onnxruntime; ` +
      `--speed measures this model on this machine). If your inputs are no longer than that, convert with --features exact.`,
  };
}
