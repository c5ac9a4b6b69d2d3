import { InputError } from "@favor/checkpoints";
import type { Progress } from "@favor/checkpoints";
import type { DataUse } from "../tokens/load-sequences.ts";
import { readPooling } from "@favor/checkpoints/node";
import type { PoolingMode, Source } from "@favor/checkpoints/node";
import type { SequenceTokenizer, TokenSequence } from "../tokens/tokenizer.ts";
import { chooseMeasure } from "./choose-measure.ts";
import type { Measure } from "./choose-measure.ts";
import { compareDecisions } from "./classification.ts";
import type { ClassificationComparison } from "./classification.ts";
import { compareEmbeddings } from "./embedding.ts";
import type { EmbeddingComparison } from "./embedding.ts";
import { maskSequence, ordinaryIds } from "./masking.ts";
import type { MaskedSequence } from "./masking.ts";
import { compareMasked, scoreMasked } from "./masked-language.ts";
import type { MaskedComparison, MaskedScores } from "./masked-language.ts";
import { nextTokens } from "./next-token.ts";
import type { NextTokenComparison } from "./next-token.ts";
import { compareCosine } from "./output-cosine.ts";
import type { CosineComparison } from "./output-cosine.ts";
import { compareNumbers } from "./output-numbers.ts";
import type { NumbersComparison } from "./output-numbers.ts";
import { ModelRunner, notFinite } from "./runner.ts";
import type { RunnerOptions } from "./runner.ts";
import { runnerOptions } from "./runner-options.ts";

/** Original and converted model on the same inputs. */
export type Evaluation =
  | ({ readonly kind: "masked-language"; readonly data: DataUse } & MaskedComparison)
  | ({ readonly kind: "next-token"; readonly data: DataUse } & NextTokenComparison)
  | ({ readonly kind: "embedding"; readonly data: DataUse } & EmbeddingComparison)
  | ({ readonly kind: "classification"; readonly data: DataUse } & ClassificationComparison)
  | ({ readonly kind: "output-cosine"; readonly data: DataUse } & CosineComparison)
  | ({ readonly kind: "output-numbers"; readonly data: DataUse } & NumbersComparison);

/** What models are compared on. */
interface EvaluationInput {
  readonly source: Source;
  /** The source as an ONNX file. */
  readonly original: string;
  readonly tokenizer: SequenceTokenizer;
  readonly sequences: readonly TokenSequence[];
  readonly use: DataUse;
  readonly threads: number;
  /** How the vectors of a text's tokens become its embedding; default: as the checkpoint says, if it does. */
  readonly pooling?: PoolingMode | undefined;
}

/** Sequences with tokens to predict, and the original's scores on them. */
interface Predicted {
  readonly sequences: readonly MaskedSequence[];
  readonly before: MaskedScores;
}

/**
 * Compares converted models with their original on the same inputs, by what the model is used for; see {@link Measure}. The
 * original predicts tokens only once. Close the comparison with {@link Comparison.close}.
 */
export class Comparison {
  readonly #input: EvaluationInput;
  readonly #original: ModelRunner;
  readonly #measure: Measure;
  /** Of models that predict tokens. */
  readonly #predicted: Predicted | undefined;
  readonly #progress: Progress;

  private constructor(
    input: EvaluationInput,
    original: ModelRunner,
    measure: Measure,
    predicted: Predicted | undefined,
    progress: Progress,
  ) {
    this.#input = input;
    this.#original = original;
    this.#measure = measure;
    this.#predicted = predicted;
    this.#progress = progress;
  }

  /**
   * Opens the original, and evaluates it if it predicts tokens.
   *
   * @throws {InputError} `model-fails-to-run`, also for outputs that are NaN; `model-inputs-unknown`, `data-empty` (no
   * token is to be predicted), `config-malformed` (how the checkpoint pools).
   * @throws {UsageError} `bad-arguments` for a pooling of a model without vectors of tokens.
   */
  static async open(input: EvaluationInput, progress: Progress): Promise<Comparison> {
    const { source } = input;
    const pooling = await readPooling(source.folder, input.pooling);
    const original = await ModelRunner.open(input.original, optionsOf(input));
    try {
      const poolingIsChosen = input.pooling !== undefined;
      const known = { ...input, config: source.config, task: source.task, pooling, poolingIsChosen };
      const measure = await chooseMeasure(original, known);
      const sequences = toPredict(measure, input);
      if (sequences === undefined) return new Comparison(input, original, measure, undefined, progress);
      progress.stage("Evaluating the original", sequences.length);
      const before = await scoreMasked(original, sequences, measure.output, (done) => progress.advance(done));
      requireFinite(original, measure.output, before);
      return new Comparison(input, original, measure, { sequences, before }, progress);
    } catch (error) {
      await original.close();
      throw error;
    }
  }

  /**
   * @param path - the converted `.onnx` file.
   * @throws {InputError} `model-fails-to-run`, `model-inputs-unknown`.
   */
  async compare(path: string): Promise<Evaluation> {
    const { sequences, use } = this.#input;
    const runner = await ModelRunner.open(path, { ...optionsOf(this.#input), feeding: this.#original.feeding });
    try {
      this.#progress.stage("Evaluating the converted model", sequences.length);
      return { data: use, ...(await this.#comparedWith(runner)) };
    } finally {
      await runner.close();
    }
  }

  async #comparedWith(runner: ModelRunner): Promise<WithoutData<Evaluation>> {
    const { sequences, use } = this.#input;
    const measure = this.#measure;
    const tick = (done: number): void => this.#progress.advance(done);
    const given = [this.#original, runner, sequences] as const;
    switch (measure.kind) {
      case "embedding": {
        const { kind, ...from } = measure;
        return { kind, ...(await compareEmbeddings(...given, from, use.seed, tick)) };
      }
      case "classification":
        return { kind: measure.kind, ...(await compareDecisions(...given, measure, use.seed, tick)) };
      case "output-numbers":
        return { kind: measure.kind, ...(await compareNumbers(...given, measure.output, use.seed, tick)) };
      case "output-cosine":
        return { kind: measure.kind, ...(await compareCosine(...given, measure.output, use.seed, tick)) };
      case "masked-language":
        return { kind: measure.kind, ...(await this.#predictions(runner, measure.output, tick)) };
      case "next-token": {
        const { maskedTokens, ...rest } = await this.#predictions(runner, measure.output, tick);
        return { kind: measure.kind, predictedTokens: maskedTokens, ...rest };
      }
    }
  }

  async #predictions(runner: ModelRunner, output: string, tick: (done: number) => void): Promise<MaskedComparison> {
    const { sequences, before } = this.#predicted!;
    const after = await scoreMasked(runner, sequences, output, tick);
    requireFinite(runner, output, after);
    return compareMasked(sequences, before, after, this.#input.use.seed);
  }

  async close(): Promise<void> {
    await this.#original.close();
  }
}

type WithoutData<T> = T extends unknown ? Omit<T, "data"> : never;

function optionsOf({ source, threads, tokenizer }: EvaluationInput): RunnerOptions {
  return { ...runnerOptions(source.config, tokenizer), threads };
}

/** @throws {InputError} `model-fails-to-run` if logits were NaN or infinite. */
function requireFinite(runner: ModelRunner, output: string, { loss }: MaskedScores): void {
  if (!loss.every(Number.isFinite)) throw notFinite(runner, output);
}

/** The sequences with the tokens that a model is to predict; undefined if it predicts none. */
function toPredict({ kind }: Measure, { tokenizer, sequences, use }: EvaluationInput): MaskedSequence[] | undefined {
  if (kind !== "masked-language" && kind !== "next-token") return undefined;
  const replacements = ordinaryIds(tokenizer);
  const special = { specialIds: tokenizer.specialIds, maskId: tokenizer.maskId! };
  const predicted = sequences.map((sequence, index) =>
    kind === "next-token" ? nextTokens(sequence) : maskSequence(sequence.ids, index, use.seed, special, replacements),
  );
  if (predicted.some(({ positions }) => positions.length > 0)) return predicted;
  const what =
    kind === "next-token"
      ? "has a second token, which would be predicted from the first"
      : `was chosen for masking, which chooses 15 %`;
  const which = kind === "next-token" ? `${use.sequences} sequences` : `${use.tokens} tokens`;
  throw new InputError(`${use.file}: none of its ${which} ${what}. Give more data to evaluate on.`, {
    code: "data-empty",
    details: { tokens: use.tokens },
  });
}

/**
 * Compares several converted models with their original; see {@link Comparison}.
 *
 * @param converted - paths of `.onnx` files.
 * @returns one evaluation per model, in that order.
 * @throws as {@link Comparison}.
 */
export async function compareModels(
  converted: readonly string[],
  input: EvaluationInput,
  progress: Progress,
): Promise<Evaluation[]> {
  const comparison = await Comparison.open(input, progress);
  try {
    const results: Evaluation[] = [];
    for (const path of converted) results.push(await comparison.compare(path));
    return results;
  } finally {
    await comparison.close();
  }
}
