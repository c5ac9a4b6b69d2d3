import { grouped, percent } from "../numbers/counts.ts";
import type { DataWarning } from "../tokens/doubtful-data.ts";
import type { Evaluation } from "./evaluation.ts";

/** Chance must give fewer correct tokens than the original has, with this probability at least. */
const certainty = 0.99;

/**
 * The doubt whether a measurement says anything: a language model that predicts no more tokens than one that
 * guesses each with the same probability. Either it is not trained, or the data are not what it was trained on.
 *
 * @param vocabulary - number of tokens.
 */
export function doubtAboutOriginal(evaluation: Evaluation | undefined, vocabulary: number): DataWarning | undefined {
  if (evaluation?.kind !== "masked-language" && evaluation?.kind !== "next-token") return undefined;
  const { original, data } = evaluation;
  const isMasked = evaluation.kind === "masked-language";
  const tokens = isMasked ? evaluation.maskedTokens : evaluation.predictedTokens;
  const correct = Math.round(original.accuracy.value * tokens);
  if (fewerByChance(correct, tokens / vocabulary) > certainty) return undefined;
  return {
    code: "original-at-chance",
    message:
      `The original predicts ${grouped(correct)} of ${grouped(tokens)} ${isMasked ? "masked" : "next"} tokens (${percent(original.accuracy.value)}; ` +
      `${data.file}), no more than guessing among ${grouped(vocabulary)} does. Its accuracy, and how much of it is kept, says ` +
      `nothing. Check that the model is trained, and that the data and the tokenizer are what it was trained with.`,
  };
}

/** The probability of fewer than `count` events where `mean` are expected (Poisson). */
function fewerByChance(count: number, mean: number): number {
  // In logarithms: the first term of a large mean would be 0.
  let term = -mean;
  let sum = 0;
  for (let k = 0; k < count; k++) {
    sum += Math.exp(term);
    term += Math.log(mean / (k + 1));
  }
  return sum;
}
