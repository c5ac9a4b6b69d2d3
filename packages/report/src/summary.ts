import { attentionCost, siteCosts } from "./attention-cost.ts";
import type { FavorFile, FavorSite } from "./record/favor-file.ts";
import { predictsMasks } from "./record/tuning-record.ts";
import type { TuningRecord } from "./record/tuning-record.ts";
import type { SiteExactKeys } from "@favor/rewriter";
import type { Evaluation, MaskedQuality } from "@favor/measure";
import { judgementOf, thresholds } from "@favor/measure/judgement";
import { counted, grouped, percent, short } from "@favor/measure/numbers";
import { describeEvaluation, describeKept } from "./describe-evaluation.ts";

/** Length in tokens at which the verdict names the cost. */
const verdictLength = 2048;

/** Says in one sentence whether the conversion is any good: how much quality is kept, and what the attention costs. */
export function verdict(file: FavorFile): string {
  const kept = judgement(file);
  const [, softmax, converted] = attentionCost(siteCosts(file)).find(([length]) => length === verdictLength)!;
  const ratio = converted === 0 ? 1 : softmax / converted;
  if (file.options.features === "exact" || ratio === 1) return `${kept}.`;
  const cost =
    ratio > 1
      ? `takes ${short(Number(ratio.toPrecision(2)))} times less computation`
      : `takes ${short(Number((1 / ratio).toPrecision(2)))} times more computation`;
  return `${kept}; at ${grouped(verdictLength)} tokens, attention ${cost} than softmax.`;
}

function judgement(file: FavorFile): string {
  const { evaluation, tuning } = file;
  if (tuning !== undefined) {
    const { measured } = tuning;
    if (!predictsMasks(measured)) return `After tuning, ${judged(measured.after)}`;
    const { after, original, before } = measured;
    if (original !== undefined) {
      const kept = after.accuracy.value / original.accuracy.value;
      return `${degree(kept)}: after tuning, the model has ${percent(kept)} of the original's masked accuracy`;
    }
    return (
      `Tuning moved the masked accuracy from ${percent(before.accuracy.value)} to ${percent(after.accuracy.value)}; the original ` +
      "was not measured, so it is not known how much is lost"
    );
  }
  if (evaluation === undefined && isLossless(file)) {
    return "Nothing is lost: every layer computes what it did before, up to rounding (favor-convert verify measures it)";
  }
  if (evaluation === undefined) return "Not measured: nothing is known yet of the quality that is left";
  return inFull(judged(evaluation));
}

function judged(evaluation: Evaluation): string {
  const found = judgementOf(evaluation);
  if (found === undefined) return "the original is right about too few of the tokens to say what is kept";
  return `${found.degree} is lost: ${describeKept(evaluation)}`;
}

/** Whether no attention was replaced by an approximation. */
export const isLossless = ({ sites }: FavorFile): boolean => sites.every(({ state }) => state !== "linear");

/** A share of the masked accuracy in words. */
function degree(kept: number): string {
  const rank = thresholds["share of the accuracy kept"].findIndex((least) => kept >= least);
  return inFull(`${(["almost nothing", "little", "a good part"] as const)[rank] ?? "much"} is lost`);
}

/** As the beginning of a sentence. */
function inFull(words: string): string {
  return `${words[0]!.toUpperCase()}${words.slice(1)}`;
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
  const { features, count, projection, seeds = 1, refine = 0, window = 0, chosenBlocks = 0, chosen = [] } = options;
  if (features === "exact") return "exact softmax";
  const isDirect = features === "elu" || features === "squared-relu";
  const number = chosen.includes("count")
    ? `${features} features, as many as calibration chose for each layer`
    : `${counted(count, `${features} feature`)} per head`;
  const { keyFactor } = options;
  const parts = [isDirect ? `${features} features` : number];
  if (keyFactor !== undefined) parts.push(`key factor ${keyFactor}`);
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
  const isChosen = chosen.includes("window") || chosen.includes("chosenBlocks");
  if (isChosen) parts.push("with exact keys that calibration chose for each layer");
  else if (window > 0) parts.push(`with exact keys (${describeExactKeys({ window, chosenBlocks })})`);
  return parts.join(", ");
}

/** `blocks of 64: near and 8 chosen` */
export function describeExactKeys({ window, chosenBlocks }: Pick<SiteExactKeys, "window" | "chosenBlocks">): string {
  return `blocks of ${window}: near${chosenBlocks > 0 ? ` and ${chosenBlocks} chosen` : ""}`;
}

/** What the stages of a tuning do, as their steps are counted. */
const stageWords = {
  distill: "distillation",
  align: "alignment",
  mlm: "MLM fine-tuning",
} as const;

/** Sums up what tuning recovered. */
export function describeTuning({ measured, stages }: TuningRecord): string {
  const steps = stages
    .flatMap(({ name, steps: count }) =>
      name === "control" ? [] : [`${counted(count, "step")} of ${stageWords[name]}`],
    )
    .join(" and ");
  if (!predictsMasks(measured)) {
    return `After ${steps}: ${describeEvaluation(measured.after)} Before: ${describeEvaluation(measured.before)}`;
  }
  const { before, after, original, control } = measured;
  const reference =
    original === undefined
      ? ""
      : `; the original has ${hundredths(original)}${control === undefined ? "" : `, and ${hundredths(control)} when it is tuned in the same way`}`;
  return (
    `Masked accuracy ${hundredths(before)} before and ${hundredths(after)} after ${steps}${reference} ` +
    `(${counted(measured.maskedTokens, "masked token")}).`
  );
}

/** Tuning changes so little that a tenth of a point would hide it. */
const hundredths = (quality: MaskedQuality): string => `${(100 * quality.accuracy.value).toFixed(2)} %`;
