import { percent, short } from "../numbers/counts.ts";
import type { Evaluation } from "../runs/evaluation.ts";

/** How much of the quality a conversion costs, in words. */
export type Degree = "almost nothing" | "little" | "a good part" | "much";

const degrees: readonly Degree[] = ["almost nothing", "little", "a good part"];

/** What a conversion is judged by, by the kind of the model. */
export type MeasureName =
  | "share of the accuracy kept"
  | "perplexity ratio"
  | "cosine of the embeddings"
  | "share of nearest neighbours kept"
  | "agreement of the decisions"
  | "rank correlation"
  | "explained share of the variance"
  | "cosine of the outputs";

/** The least value of each measure at which almost nothing, little, and a good part is lost. Below the second, Favor warns. */
export const thresholds: Readonly<Record<MeasureName, readonly [almostNothing: number, little: number, part: number]>> =
  {
    "share of the accuracy kept": [0.99, 0.95, 0.8],
    "perplexity ratio": [0.98, 0.9, 0.7],
    "cosine of the embeddings": [0.995, 0.98, 0.9],
    "share of nearest neighbours kept": [0.95, 0.85, 0.6],
    "agreement of the decisions": [0.99, 0.95, 0.8],
    "rank correlation": [0.99, 0.95, 0.8],
    "explained share of the variance": [0.99, 0.95, 0.8],
    "cosine of the outputs": [0.99, 0.95, 0.8],
  };

/** Whether a loss is large enough to warn of. */
export function isBad(degree: Degree): boolean {
  return degree === "a good part" || degree === "much";
}

/** One number that a conversion is judged by; 1 is the original. */
export interface Judged {
  readonly measure: MeasureName;
  readonly value: number;
}

/** What an evaluation says of a conversion. */
export interface Judgement {
  /** By the worst of the measures. */
  readonly degree: Degree;
  readonly worst: Judged;
}

/**
 * Judges a conversion by the thresholds of its measures; the worst decides.
 *
 * @returns undefined if the original predicts so little that nothing can be said.
 */
export function judgementOf(evaluation: Evaluation): Judgement | undefined {
  const judged = measuresOf(evaluation).map((each) => ({ ...each, rank: rankOf(each) }));
  const [worst] = judged.toSorted((a, b) => b.rank - a.rank);
  if (worst === undefined) return undefined;
  const { measure, value, rank } = worst;
  return { degree: degrees[rank] ?? "much", worst: { measure, value } };
}

/** 0 for almost nothing lost, up to 3 for much. */
function rankOf({ measure, value }: Judged): number {
  const rank = thresholds[measure].findIndex((least) => value >= least);
  return rank < 0 ? degrees.length : rank;
}

/** A cosine or a correlation as a number, a share in percent. */
export function shownMeasure(measure: Judged["measure"], value: number): string {
  return measure.startsWith("cosine") || measure === "rank correlation" ? short(value) : percent(value);
}

/** The numbers that an evaluation is judged by; the first is the one that is measured by length, too. */
export function measuresOf(evaluation: Evaluation): Judged[] {
  switch (evaluation.kind) {
    case "masked-language":
      return keptOf(evaluation);
    case "next-token": {
      const { original, converted } = evaluation;
      const value = original.perplexity.value / converted.perplexity.value;
      return [...keptOf(evaluation), { measure: "perplexity ratio", value }];
    }
    case "embedding": {
      const { cosine, neighbours } = evaluation;
      const cosines: Judged = { measure: "cosine of the embeddings", value: cosine.value };
      if (neighbours === undefined) return [cosines];
      return [cosines, { measure: "share of nearest neighbours kept", value: neighbours.kept.value }];
    }
    case "classification":
      return [{ measure: "agreement of the decisions", value: evaluation.agreement.value }];
    case "output-numbers": {
      const { error, rankCorrelation } = evaluation;
      const explained: Judged = { measure: "explained share of the variance", value: 1 - error.value ** 2 };
      if (rankCorrelation === undefined) return [explained];
      return [explained, { measure: "rank correlation", value: rankCorrelation }];
    }
    case "output-cosine":
      return [{ measure: "cosine of the outputs", value: evaluation.cosine.value }];
  }
}

function keptOf({ accuracyKept }: Evaluation & { readonly kind: "masked-language" | "next-token" }): Judged[] {
  return accuracyKept === undefined ? [] : [{ measure: "share of the accuracy kept", value: accuracyKept.value }];
}

/** The number that stands for an evaluation where there is room for one. */
export function qualityOf(evaluation: Evaluation): { readonly what: string; readonly value: number } {
  switch (evaluation.kind) {
    case "masked-language":
      return { what: "masked accuracy", value: evaluation.converted.accuracy.value };
    case "next-token":
      return { what: "next-token accuracy", value: evaluation.converted.accuracy.value };
    case "embedding":
      return { what: "mean cosine of the embeddings", value: evaluation.cosine.value };
    case "classification":
      return { what: "agreement of the decisions", value: evaluation.agreement.value };
    case "output-cosine":
      return { what: "mean cosine", value: evaluation.cosine.value };
    case "output-numbers":
      return { what: "error by the spread of the original's numbers", value: evaluation.error.value };
  }
}

/**
 * The loss of the converted model, in points of masked or next-token accuracy, of the cosine (1 is 100 points), of
 * decisions, or of the spread of the original's numbers.
 *
 * @param range - a range of lengths on its own: the quality there, and the original's accuracy. Default: all sequences.
 */
export function lossInPoints(
  evaluation: Evaluation,
  range: { readonly value: number; readonly original?: number } = { value: qualityOf(evaluation).value },
): number {
  const { value } = range;
  switch (evaluation.kind) {
    case "masked-language":
    case "next-token":
      return 100 * ((range.original ?? evaluation.original.accuracy.value) - value);
    case "output-numbers":
      return 100 * value;
    case "embedding":
    case "classification":
    case "output-cosine":
      return 100 * (1 - value);
  }
}
