import type { Feeding } from "@favor/measure";
import { maskSequence, maskedQuality, ordinaryIds, scoreMasked, ModelRunner } from "@favor/measure";
import type { MaskedQuality, MaskedScores, MaskedSequence } from "@favor/measure";
import type { SequenceTokenizer, TokenSequence } from "@favor/measure/tokens";

import { TuneInputError } from "../errors.ts";

export interface MaskedHeldOutOptions {
  readonly tokenizer: SequenceTokenizer;
  /** Name of the logits. */
  readonly logits: string;
  /** How every model of the run is fed, as proved on the converted one. */
  readonly feeding: Feeding;
  readonly seed: number;
  readonly threads: number;
}

/**
 * The masked tokens on which every model of a run is measured, in onnxruntime. The masks are those of `favor-convert`'s
 * evaluation, so the same data and seed give the same numbers there.
 */
export class MaskedHeldOut {
  readonly sequences: readonly MaskedSequence[];
  readonly maskedTokens: number;
  readonly #options: MaskedHeldOutOptions;

  /** @throws {TuneInputError} `data-too-small` if no token was chosen for masking. */
  constructor(sequences: readonly TokenSequence[], options: MaskedHeldOutOptions) {
    const { tokenizer, seed } = options;
    const replacements = ordinaryIds(tokenizer);
    const masking = { specialIds: tokenizer.specialIds, maskId: tokenizer.maskId! };
    // Sequences without masked tokens say nothing, and a resample of only those would have no accuracy.
    this.sequences = sequences
      .map(({ ids }, index) => maskSequence(ids, index, seed, masking, replacements))
      .filter(({ positions }) => positions.length > 0);
    this.maskedTokens = this.sequences.reduce((sum, { positions }) => sum + positions.length, 0);
    this.#options = options;
    if (this.maskedTokens === 0) {
      throw new TuneInputError(
        `No token of the ${sequences.length} sequences to measure on was chosen for masking, which chooses 15 %. Give more data.`,
        { code: "data-too-small", details: { sequences: sequences.length } },
      );
    }
  }

  /**
   * Scores a model on the masked tokens.
   *
   * @param path - an ONNX file.
   * @throws {InputError} `model-fails-to-run`, `model-inputs-unknown`.
   */
  async scores(path: string): Promise<MaskedScores> {
    const { tokenizer, threads, logits, feeding } = this.#options;
    const runner = await ModelRunner.open(path, { threads, padId: tokenizer.padId, feeding });
    try {
      return await scoreMasked(runner, this.sequences, logits, () => {});
    } finally {
      await runner.close();
    }
  }

  /** Accuracy and perplexity with bootstrap intervals over sequences. */
  quality(scores: MaskedScores): MaskedQuality {
    return maskedQuality(this.sequences, scores, this.#options.seed);
  }

  /** The share of masked tokens that a model predicts correctly. */
  accuracy({ correct }: MaskedScores): number {
    return correct.reduce((sum, count) => sum + count, 0) / this.maskedTokens;
  }

  /** The mean cross-entropy of the masked tokens, in nats. */
  loss({ loss }: MaskedScores): number {
    return loss.reduce((sum, value) => sum + value, 0) / this.maskedTokens;
  }
}
