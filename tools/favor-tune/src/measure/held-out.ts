import { maskSequence, maskedQuality, ordinaryIds, scoreMasked, ModelRunner } from "@favor/measure";
import type { MaskedQuality, MaskedScores, MaskedSequence } from "@favor/measure";
import type { SequenceTokenizer, TokenSequence } from "@favor/measure/tokens";

import { TuneInputError } from "../errors.ts";

export interface HeldOutOptions {
  readonly tokenizer: SequenceTokenizer;
  /** Name of the logits. */
  readonly logits: string;
  readonly seed: number;
  readonly threads: number;
}

/**
 * Masked tokens that every model of a run is judged by, in onnxruntime, as it will be used. The masks are those of
 * `favor-convert`'s evaluation: the same data and seed give the same numbers there.
 */
export class HeldOut {
  readonly sequences: readonly MaskedSequence[];
  readonly maskedTokens: number;
  readonly #options: HeldOutOptions;

  /** @throws {TuneInputError} `data-too-small` where no token was chosen for masking. */
  constructor(sequences: readonly TokenSequence[], options: HeldOutOptions) {
    const { tokenizer, seed } = options;
    const replacements = ordinaryIds(tokenizer);
    const masking = { specialIds: tokenizer.specialIds, maskId: tokenizer.maskId! };
    // One without a masked token says nothing, and a resample of such alone would have no accuracy.
    this.sequences = sequences
      .map(({ ids }, index) => maskSequence(ids, index, seed, masking, replacements))
      .filter(({ positions }) => positions.length > 0);
    this.maskedTokens = this.sequences.reduce((sum, { positions }) => sum + positions.length, 0);
    this.#options = options;
    if (this.maskedTokens === 0) {
      throw new TuneInputError(
        `Of the ${sequences.length} sequences to measure on, no token was chosen for masking (15 % are). Give more data.`,
        { code: "data-too-small", details: { sequences: sequences.length } },
      );
    }
  }

  /**
   * What a model makes of the masked tokens.
   *
   * @param path - an ONNX file.
   * @throws {InputError} `model-fails-to-run`, `model-inputs-unknown`.
   */
  async scores(path: string): Promise<MaskedScores> {
    const { tokenizer, threads, logits } = this.#options;
    const runner = await ModelRunner.open(path, { threads, padId: tokenizer.padId });
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

  /** The share of the masked tokens that a model predicts rightly. */
  accuracy({ correct }: MaskedScores): number {
    return correct.reduce((sum, count) => sum + count, 0) / this.maskedTokens;
  }
}
