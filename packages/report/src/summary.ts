import type { FavorFile, FavorSite } from "./record/favor-file.ts";
import type { TuningRecord } from "./record/tuning-record.ts";
import type { Evaluation, MaskedQuality } from "@favor/measure";
import { counted, percent, percentWithInterval, short, withInterval } from "@favor/measure/numbers";

/** Sums up a conversion in one sentence, for the page, the model card and the terminal. */
export function summary(file: FavorFile): string {
  const count = (state: FavorSite["state"]): number => file.sites.filter((site) => site.state === state).length;
  const [converted, band, kept, refused] = [count("converted"), count("band"), count("kept"), count("refused")];
  const rest = [
    band > 0
      ? `${band} computed within ${band === 1 ? "its window" : "their windows"}, exactly and in linear time`
      : "",
    kept > 0 ? `${kept} kept as softmax` : "",
    refused > 0 ? `${refused} left as softmax because they cannot be replaced` : "",
  ].filter((part) => part !== "");
  const what =
    file.options.features === "exact"
      ? "rewritten as exact softmax attention"
      : `replaced by linear attention (${describeFeatures(file)})`;
  return `${converted} of ${file.sites.length} attention sites ${what}${rest.length > 0 ? `; ${rest.join(", ")}` : ""}.`;
}

/** `256 positive features per head, orthogonal projection, calibrated on 200 sequences, best of 4 draws`. */
export function describeFeatures({ options, calibration }: FavorFile): string {
  const { features, count, projection, seeds = 1, refine = 0 } = options;
  if (features === "exact") return "exact softmax";
  const isDirect = features === "elu1" || features === "squared-relu";
  const parts = [isDirect ? `${features} features` : `${counted(count, `${features} feature`)} per head`];
  if (projection !== undefined && !isDirect) parts.push(`${projection} projection`);
  if (calibration !== undefined) {
    parts.push(
      `${features === "landmark" ? "fitted to" : "calibrated on"} ${counted(calibration.sequences, "sequence")}`,
    );
  } else if (features === "positive") {
    parts.push("not calibrated");
  }
  if (seeds > 1) parts.push(`best of ${seeds} draws`);
  if (refine > 0) parts.push(`refined in ${counted(refine, "step")}`);
  return parts.join(", ");
}

/** Describes the outcome of a comparison in one sentence. */
export function describeEvaluation(evaluation: Evaluation): string {
  const { data } = evaluation;
  if (evaluation.kind === "output-cosine") {
    return (
      `Mean cosine of the output "${evaluation.output}" between original and converted: ` +
      `${withInterval(evaluation.cosine)} over ${counted(evaluation.vectors, "vector")} of ${counted(data.sequences, "sequence")}.`
    );
  }
  if (evaluation.kind === "output-numbers") {
    const { output, width, vectors, error, rankCorrelation } = evaluation;
    const what = width === 1 ? `The number "${output}"` : `The ${width} numbers "${output}"`;
    const order =
      rankCorrelation === undefined ? "" : `; rank correlation with the original's ${short(rankCorrelation)}`;
    return (
      `${what} of the converted model ${width === 1 ? "differs" : "differ"} from the original's by ` +
      `${percentWithInterval(error)} of their spread (root mean square by standard deviation; 0 % is equal, 100 % is no ` +
      `better than their mean)${order} (${counted(vectors, width === 1 ? "number" : "vector")} of ` +
      `${counted(data.sequences, "sequence")}).`
    );
  }
  const { original, converted, accuracyKept } = evaluation;
  const kept = accuracyKept === undefined ? "" : `: ${percent(accuracyKept.value)} of the original`;
  return (
    `Masked accuracy ${percentWithInterval(original.accuracy)} before, ${percentWithInterval(converted.accuracy)} after` +
    `${kept}; perplexity ${short(original.perplexity.value)} before, ` +
    `${short(converted.perplexity.value)} after (${counted(evaluation.maskedTokens, "masked token")} of ${counted(data.sequences, "sequence")}).`
  );
}

/** Sums up in one sentence what tuning recovered. */
export function describeTuning({ measured, stages }: TuningRecord): string {
  const { before, after, original, control } = measured;
  const steps = stages
    .filter(({ name }) => name !== "control")
    .map(
      ({ name, steps: count }) =>
        `${counted(count, "step")} of ${name === "distill" ? "distillation" : "MLM fine-tuning"}`,
    );
  const others = [
    original === undefined ? "" : `the original has ${hundredths(original)}`,
    control === undefined ? "" : `tuned in the same way, it has ${hundredths(control)}`,
  ].filter((part) => part !== "");
  return (
    `Masked accuracy ${hundredths(before)} before and ${hundredths(after)} after ${steps.join(" and ")}` +
    `${others.length > 0 ? `; ${others.join(", ")}` : ""} (${counted(measured.maskedTokens, "masked token")}).`
  );
}

/** Tuning changes so little that a tenth of a point would hide it. */
const hundredths = (quality: MaskedQuality): string => `${(100 * quality.accuracy.value).toFixed(2)} %`;

/** How the numbers and their intervals were measured. */
export const evaluationMethod: string =
  "Both models see the same inputs: 15 % of the tokens are chosen (of these 80 % masked, 10 % replaced at random, " +
  "10 % left), seeded. Intervals are 95 % percentile bootstraps over whole sequences.";
