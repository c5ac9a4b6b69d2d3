import { bootstrap, ratio } from "./bootstrap.ts";
import { byLength } from "./by-length.ts";
import type { LengthBin } from "./by-length.ts";
import type { Estimate } from "../numbers/intervals.ts";
import { batchesOf } from "./batches.ts";
import type { MaskedSequence } from "./masking.ts";
import type { ModelRunner } from "./runner.ts";

/** One model's scores on the masked tokens, per sequence. */
export interface MaskedScores {
  /** Correctly predicted masked tokens (the highest logit), per sequence. */
  readonly correct: Float64Array;
  /** Summed negative log-likelihood of the masked tokens in nats, per sequence. */
  readonly loss: Float64Array;
}

/**
 * Runs a masked-language model over masked sequences.
 *
 * @param sequences - from {@link maskSequence}.
 * @param output - name of the logits, `[batch, length, vocabulary]`.
 * @param tick - called after each batch with its number of sequences.
 * @throws {InputError} `model-fails-to-run`.
 */
export async function scoreMasked(
  runner: ModelRunner,
  sequences: readonly MaskedSequence[],
  output: string,
  tick: (done: number) => void,
): Promise<MaskedScores> {
  const correct = new Float64Array(sequences.length);
  const loss = new Float64Array(sequences.length);
  for (const { indices, length } of batchesOf(sequences, runner)) {
    const rows = indices.map((index) => sequences[index]!.ids);
    const logits = await runner.run(rows, output, length);
    for (const [row, index] of indices.entries()) {
      const { positions, targets } = sequences[index]!;
      for (const [i, position] of positions.entries()) {
        const start = (row * length + position) * logits.width;
        const score = scoreToken(logits.data.subarray(start, start + logits.width), targets[i]!);
        if (score.correct) correct[index]!++;
        loss[index]! += score.loss;
      }
    }
    tick(indices.length);
  }
  return { correct, loss };
}

/** Scores one token: whether the target has the highest logit, and -log softmax(logits)[target]. NaN is never correct. */
export function scoreToken(logits: Float32Array, target: number): { correct: boolean; loss: number } {
  let highest = -Infinity;
  for (const logit of logits) if (logit > highest || Number.isNaN(logit)) highest = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - highest);
  const own = logits[target] ?? Number.NaN;
  return { correct: own === highest, loss: Math.log(sum) + highest - own };
}

/** The quality of one model: the share of masked tokens predicted correctly, and exp of the mean loss. */
export interface MaskedQuality {
  readonly accuracy: Estimate;
  readonly perplexity: Estimate;
}

/** The comparison of two models on the same masked tokens. */
export interface MaskedComparison {
  readonly maskedTokens: number;
  readonly original: MaskedQuality;
  readonly converted: MaskedQuality;
  /**
   * Accuracy of the converted model as a share of the original's; the interval is of the paired ratio. Undefined if the
   * original predicts so few tokens that some resamples have none.
   */
  readonly accuracyKept?: Estimate | undefined;
  /** The accuracy kept, and the original's accuracy. */
  readonly byLength: readonly LengthBin[];
}

/** Sums up one model's scores, with bootstrap intervals over sequences. */
export function maskedQuality(sequences: readonly MaskedSequence[], scores: MaskedScores, seed: number): MaskedQuality {
  const sums = new Float64Array(sequences.length * 3);
  for (const [index, { positions }] of sequences.entries()) {
    sums.set([positions.length, scores.correct[index]!, scores.loss[index]!], index * 3);
  }
  return {
    accuracy: bootstrap(sums, 3, ratio, seed),
    perplexity: bootstrap(sums, 3, (totals) => Math.exp(totals[2]! / totals[0]!), seed),
  };
}

/** Compares two models' scores on the same masked sequences. */
export function compareMasked(
  sequences: readonly MaskedSequence[],
  original: MaskedScores,
  converted: MaskedScores,
  seed: number,
): MaskedComparison {
  const sums = new Float64Array(sequences.length * 3);
  for (const [index, { positions }] of sequences.entries()) {
    sums.set([original.correct[index]!, converted.correct[index]!, positions.length], index * 3);
  }
  const kept = bootstrap(sums, 3, ratio, seed);
  const lengths = sequences.map(({ ids }) => ids.length);
  return {
    maskedTokens: sequences.reduce((sum, { positions }) => sum + positions.length, 0),
    original: maskedQuality(sequences, original, seed),
    converted: maskedQuality(sequences, converted, seed),
    ...([kept.value, kept.low, kept.high].every(Number.isFinite) && { accuracyKept: kept }),
    byLength: byLength(lengths, { sums, width: 3, statistic: ratio, original: accuracyBefore }, seed),
  };
}

/** Of the sums of correct tokens before and after, and of all tokens. */
function accuracyBefore(totals: Float64Array): number {
  return totals[0]! / totals[2]!;
}
