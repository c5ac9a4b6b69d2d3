import { attentionCost, siteCosts } from "./attention-cost.ts";
import type { FavorFile, FavorSite } from "./record/favor-file.ts";
import type { TuningRecord } from "./record/tuning-record.ts";
import type { SiteExactKeys } from "@favor/rewriter";
import type { Evaluation, MaskedQuality } from "@favor/measure";
import { counted, grouped, percent, percentWithInterval, short, withInterval } from "@favor/measure/numbers";

/** Length in tokens at which the verdict names the cost. */
const verdictLength = 2048;

/** Says in one sentence whether the conversion is any good: how much quality is kept, and what the attention costs. */
export function verdict(file: FavorFile): string {
  const judged = judgement(file);
  const [, softmax, converted] = attentionCost(siteCosts(file)).find(([length]) => length === verdictLength)!;
  const ratio = converted === 0 ? 1 : softmax / converted;
  if (file.options.features === "exact" || ratio === 1) return `${judged}.`;
  const cost =
    ratio > 1
      ? `takes ${short(Number(ratio.toPrecision(2)))} times less computation`
      : `takes ${short(Number((1 / ratio).toPrecision(2)))} times more computation`;
  return `${judged}; at ${grouped(verdictLength)} tokens, attention ${cost} than softmax.`;
}

function judgement({ evaluation, tuning }: FavorFile): string {
  if (tuning !== undefined) {
    const { after, original, before } = tuning.measured;
    if (original !== undefined) {
      const kept = after.accuracy.value / original.accuracy.value;
      return `${degree(kept)}: after tuning, the model has ${percent(kept)} of the original's masked accuracy`;
    }
    return (
      `Tuning moved the masked accuracy from ${percent(before.accuracy.value)} to ${percent(after.accuracy.value)}; the original ` +
      "was not measured, so it is not known how much is lost"
    );
  }
  if (evaluation === undefined) return "Not measured: nothing is known yet of the quality that is left";
  if (evaluation.kind === "output-cosine") {
    const { value } = evaluation.cosine;
    return `${degree(value)}: the outputs have a mean cosine of ${short(value)} with the original's`;
  }
  if (evaluation.kind === "output-numbers") {
    const { value } = evaluation.error;
    // Of the variance of the original's numbers, this share is explained.
    return `${degree(1 - value ** 2)}: the outputs differ from the original's by ${percent(value)} of their spread`;
  }
  const kept = evaluation.accuracyKept?.value;
  if (kept === undefined) return "The original is right about too few of the masked tokens to say what is kept";
  return `${degree(kept)}: the model keeps ${percent(kept)} of the original's masked accuracy`;
}

/** A share of the quality in words. */
function degree(kept: number): string {
  if (kept >= 0.99) return "Almost nothing is lost";
  if (kept >= 0.95) return "Little is lost";
  return kept >= 0.8 ? "A good part is lost" : "Much is lost";
}

/** Sums up a conversion in one sentence, for the page, the model card and the terminal. */
export function summary(file: FavorFile): string {
  const count = (state: FavorSite["state"]): number => file.sites.filter((site) => site.state === state).length;
  const because = (why: FavorSite["because"]): number => file.sites.filter((site) => site.because === why).length;
  const isExact = file.options.features === "exact";
  const converted = count(isExact ? "exact by block" : "linear");
  const [band, kept, refused] = [count("band"), because("kept"), because("refused")];
  const rest = [
    band > 0
      ? `${band} computed within ${band === 1 ? "its window" : "their windows"}, exactly and in linear time`
      : "",
    kept > 0 ? `${kept} kept as softmax` : "",
    refused > 0 ? `${refused} left as softmax because they cannot be replaced` : "",
  ].filter((part) => part !== "");
  const what = isExact
    ? "computed exactly by blocks of queries, in memory that grows with the length alone"
    : `replaced by linear attention (${describeFeatures(file)})`;
  return `${converted} of ${file.sites.length} attention sites ${what}${rest.length > 0 ? `; ${rest.join(", ")}` : ""}.`;
}

/** What {@link describeFeatures} describes. */
interface Described {
  readonly options: FavorFile["options"];
  readonly calibration?: { readonly sequences: number } | undefined;
}

/** `256 positive features per head, orthogonal projection, calibrated on 200 sequences, best of 4 draws`. */
export function describeFeatures({ options, calibration }: Described): string {
  const { features, count, projection, seeds = 1, refine = 0, window = 0, chosenBlocks = 0 } = options;
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
  if (window > 0) parts.push(`beside exact keys (${describeExactKeys({ window, chosenBlocks })})`);
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

/** `blocks of 64: near and 8 chosen` */
export function describeExactKeys({ window, chosenBlocks }: Pick<SiteExactKeys, "window" | "chosenBlocks">): string {
  return `blocks of ${window}: near${chosenBlocks > 0 ? ` and ${chosenBlocks} chosen` : ""}`;
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
  const reference =
    original === undefined
      ? ""
      : `; the original has ${hundredths(original)}${control === undefined ? "" : `, and ${hundredths(control)} when it is tuned in the same way`}`;
  return (
    `Masked accuracy ${hundredths(before)} before and ${hundredths(after)} after ${steps.join(" and ")}${reference} ` +
    `(${counted(measured.maskedTokens, "masked token")}).`
  );
}

/** Tuning changes so little that a tenth of a point would hide it. */
const hundredths = (quality: MaskedQuality): string => `${(100 * quality.accuracy.value).toFixed(2)} %`;

/** How the numbers and their intervals were measured. */
export const evaluationMethod: string =
  "Both models see the same inputs: 15 % of the tokens are chosen (of these 80 % masked, 10 % replaced at random, " +
  "10 % left), seeded. Intervals are 95 % percentile bootstraps over whole sequences.";
