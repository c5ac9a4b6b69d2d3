import { InputError } from "@favor/checkpoints";
import type { Progress } from "@favor/checkpoints";
import type { DataUse } from "../tokens/load-sequences.ts";
import type { Source } from "@favor/checkpoints/node";
import type { SequenceTokenizer, TokenSequence } from "../tokens/tokenizer.ts";
import { mainOutput } from "./main-output.ts";
import type { MainOutput } from "./main-output.ts";
import { maskSequence, ordinaryIds } from "./masking.ts";
import type { MaskedSequence } from "./masking.ts";
import { compareMasked, scoreMasked } from "./masked-language.ts";
import type { MaskedComparison, MaskedScores } from "./masked-language.ts";
import { compareCosine } from "./output-cosine.ts";
import type { CosineComparison } from "./output-cosine.ts";
import { compareNumbers, fewNumbers } from "./output-numbers.ts";
import type { NumbersComparison } from "./output-numbers.ts";
import { ModelRunner, notFinite } from "./runner.ts";
import type { RunnerOptions } from "./runner.ts";
import { runnerOptions } from "./runner-options.ts";

/** Original and converted model on the same inputs. */
export type Evaluation =
  | ({ readonly kind: "masked-language"; readonly data: DataUse } & MaskedComparison)
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
}

/**
 * Compares converted models with their original on the same inputs: by masked accuracy and perplexity if they are masked
 * language models, otherwise by the cosine of their outputs, or by the numbers themselves if they are few. The original is evaluated only once. Close the comparison
 * with {@link Comparison.close}.
 */
export class Comparison {
  readonly #input: EvaluationInput;
  readonly #original: ModelRunner;
  readonly #output: string;
  /** Numbers per vector of the output. */
  readonly #width: number;
  /** For a masked language model, the masked sequences and the original's scores on them. */
  readonly #masked: { readonly sequences: readonly MaskedSequence[]; readonly before: MaskedScores } | undefined;
  readonly #progress: Progress;

  private constructor(
    input: EvaluationInput,
    original: ModelRunner,
    { name, width }: MainOutput,
    masked: { sequences: readonly MaskedSequence[]; before: MaskedScores } | undefined,
    progress: Progress,
  ) {
    this.#input = input;
    this.#original = original;
    this.#output = name;
    this.#width = width;
    this.#masked = masked;
    this.#progress = progress;
  }

  /**
   * Opens and evaluates the original.
   *
   * @throws {InputError} `model-fails-to-run`, also for outputs that are NaN; `model-inputs-unknown`, `data-empty` (no token was chosen for masking).
   */
  static async open(input: EvaluationInput, progress: Progress): Promise<Comparison> {
    const { source, tokenizer, sequences } = input;
    const original = await ModelRunner.open(input.original, optionsOf(input));
    try {
      const vocabulary = source.config.vocab_size ?? tokenizer.size;
      const main = await mainOutput(original, sequences[0]!.ids, vocabulary);
      const { name, isLogits } = main;
      const { maskId } = tokenizer;
      if (!isLogits || maskId === undefined) return new Comparison(input, original, main, undefined, progress);
      const masked = maskAll(input, maskId);
      progress.stage("Evaluating the original", masked.length);
      const before = await scoreMasked(original, masked, name, (done) => progress.advance(done));
      requireFinite(original, name, before);
      return new Comparison(input, original, main, { sequences: masked, before }, progress);
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
    const tick = (done: number): void => this.#progress.advance(done);
    try {
      this.#progress.stage("Evaluating the converted model", sequences.length);
      if (this.#masked === undefined && this.#width < fewNumbers) {
        const found = await compareNumbers(this.#original, runner, sequences, this.#output, use.seed, tick);
        return { kind: "output-numbers", data: use, ...found };
      }
      if (this.#masked === undefined) {
        const found = await compareCosine(this.#original, runner, sequences, this.#output, use.seed, tick);
        return { kind: "output-cosine", data: use, ...found };
      }
      const { sequences: masked, before } = this.#masked;
      const after = await scoreMasked(runner, masked, this.#output, tick);
      requireFinite(runner, this.#output, after);
      return { kind: "masked-language", data: use, ...compareMasked(masked, before, after, use.seed) };
    } finally {
      await runner.close();
    }
  }

  async close(): Promise<void> {
    await this.#original.close();
  }
}

function optionsOf({ source, threads, tokenizer }: EvaluationInput): RunnerOptions {
  return { ...runnerOptions(source.config, tokenizer), threads };
}

/** @throws {InputError} `model-fails-to-run` if logits were NaN or infinite. */
function requireFinite(runner: ModelRunner, output: string, { loss }: MaskedScores): void {
  if (!loss.every(Number.isFinite)) throw notFinite(runner, output);
}

function maskAll({ tokenizer, sequences, use }: EvaluationInput, maskId: number): MaskedSequence[] {
  const replacements = ordinaryIds(tokenizer);
  const special = { specialIds: tokenizer.specialIds, maskId };
  const masked = sequences.map(({ ids }, index) => maskSequence(ids, index, use.seed, special, replacements));
  if (masked.some(({ positions }) => positions.length > 0)) return masked;
  throw new InputError(
    `${use.file}: none of its ${use.tokens} tokens was chosen for masking, which chooses 15 %. Give more data to evaluate on.`,
    { code: "data-empty", details: { tokens: use.tokens } },
  );
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

/**
 * The loss of the converted model, in points of masked accuracy, of the cosine (1 is 100 points), or of the spread of the
 * original's numbers.
 */
export function lossInPoints(evaluation: Evaluation): number {
  switch (evaluation.kind) {
    case "masked-language":
      return 100 * (evaluation.original.accuracy.value - evaluation.converted.accuracy.value);
    case "output-cosine":
      return 100 * (1 - evaluation.cosine.value);
    case "output-numbers":
      return 100 * evaluation.error.value;
  }
}
