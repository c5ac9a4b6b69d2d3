import { grouped, percent } from "../numbers/counts.ts";
import type { DataWarning } from "../tokens/doubtful-data.ts";
import type { LengthBin } from "../runs/by-length.ts";
import type { Evaluation } from "../runs/evaluation.ts";
import { isBad, judgementOf, measuresOf, shownMeasure, thresholds } from "./judgement.ts";
import type { Judged } from "./judgement.ts";

/** What to do about a loss. */
const remedies =
  "Calibrate on more data like those that you will use, raise --count, keep layers softmax with --keep or --budget, or " +
  "train the converted model with favor-tune.";

/** Warns of a quality below the thresholds, over all or at one range of lengths, and of what limits the measure. */
export function warningsAbout(evaluation: Evaluation): DataWarning[] {
  return [qualityLow(evaluation), qualityFalls(evaluation), oneSided(evaluation), ...poolingDoubts(evaluation)].filter(
    (warning) => warning !== undefined,
  );
}

function qualityLow(evaluation: Evaluation): DataWarning | undefined {
  const judgement = judgementOf(evaluation);
  if (judgement === undefined || !isBad(judgement.degree)) return undefined;
  const { measure, value } = judgement.worst;
  return {
    code: "quality-low",
    message:
      `The ${measure} is ${shownMeasure(measure, value)} (${evaluation.data.file}), below ${shownMeasure(measure, thresholds[measure][1])}: ` +
      `${judgement.degree} of the original's quality is lost. ${remedies}`,
  };
}

/** The measure of the ranges of lengths, and its values as a share. */
function binsOf(evaluation: Evaluation): readonly (LengthBin & { readonly judged?: Judged & { best: number } })[] {
  const [first] = measuresOf(evaluation);
  return evaluation.byLength.map((bin) => {
    if (first === undefined || bin.value === undefined) return bin;
    const isError = evaluation.kind === "output-numbers";
    const share = (value: number): number => (isError ? 1 - value ** 2 : value);
    const best = share(isError ? bin.value.low : bin.value.high);
    return { ...bin, judged: { measure: first.measure, value: share(bin.value.value), best } };
  });
}

/** A range of lengths that is certainly below the threshold, although the whole is not. */
function qualityFalls(evaluation: Evaluation): DataWarning | undefined {
  const judgement = judgementOf(evaluation);
  if (judgement === undefined || isBad(judgement.degree)) return undefined;
  const bad = binsOf(evaluation).filter(({ judged }) => judged && judged.best < thresholds[judged.measure][1]);
  const worst = bad.toSorted((a, b) => a.judged!.value - b.judged!.value)[0];
  if (worst?.judged === undefined) return undefined;
  const { from, to, sequences, judged } = worst;
  return {
    code: "quality-low-at-length",
    message:
      `At ${grouped(from)} to ${grouped(to)} tokens, the ${judged.measure} is ${shownMeasure(judged.measure, judged.value)} ` +
      `(${sequences} of ${evaluation.data.sequences} sequences of ${evaluation.data.file}), although the whole is above ` +
      `${shownMeasure(judged.measure, thresholds[judged.measure][1])}. ${remedies}`,
  };
}

/** A share of one decision from which agreement is no achievement. */
const commonShare = 0.95;

function oneSided(evaluation: Evaluation): DataWarning | undefined {
  if (evaluation.kind !== "classification" || evaluation.commonest < commonShare) return undefined;
  return {
    code: "decisions-one-sided",
    message:
      `The original decides alike in ${percent(evaluation.commonest)} of the ${grouped(evaluation.vectors)} cases of ` +
      `${evaluation.data.file}, so that agreement says little. Evaluate on data of all classes.`,
  };
}

function poolingDoubts(evaluation: Evaluation): DataWarning[] {
  if (evaluation.kind !== "embedding" || evaluation.pooling === undefined) return [];
  const { modes, configured, after } = evaluation.pooling;
  const used = modes.join(", ");
  const disagrees: DataWarning = {
    code: "pooling-disagrees",
    message:
      `The checkpoint's configuration pools by ${configured}, and --pooling asks for ${used}. The embeddings are measured as ` +
      `asked for. Leave --pooling out to measure what the checkpoint is used for.`,
  };
  const incomplete: DataWarning = {
    code: "pooling-incomplete",
    message:
      `The embeddings are measured without ${after.join(", ")} of modules.json, which the graph does not contain. Export the ` +
      `model with its output "sentence_embedding" to measure the whole.`,
  };
  return [...(configured === undefined ? [] : [disagrees]), ...(after.length === 0 ? [] : [incomplete])];
}
