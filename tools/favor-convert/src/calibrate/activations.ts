import type { HeadMoments } from "@favor/core/calibration";
import type { ConvertOptions, ConvertedSite, ModelAttention, SampleTap } from "@favor/rewriter";

import { UsageError } from "@favor/checkpoints";
import type { OutputFolder } from "@favor/checkpoints/node";
import { mainOutput, runnerOptions } from "@favor/measure";
import type { RunnerOptions } from "@favor/measure";
import type { Progress } from "@favor/checkpoints";
import type { FavorOptions, SiteError } from "@favor/report";
import type { Source } from "@favor/checkpoints/node";
import type { LoadedSequences } from "@favor/measure/tokens";
import type { SequenceTokenizer } from "@favor/measure/tokens";
import { calibrationInputs } from "./calibration-inputs.ts";
import { fitSites } from "./fit-sites.ts";
import { HeadPool } from "./head-pool.ts";
import { gatherMoments, gatherUnpaddedMoments } from "./moments.ts";
import { siteErrors } from "./site-errors.ts";
import { openTapped } from "./tapped-model.ts";
import type { TappedModel } from "./tapped-model.ts";

/** Input of {@link Activations}. */
export interface ActivationsInput {
  readonly options: FavorOptions;
  readonly source: Source;
  readonly attention: ModelAttention;
  readonly tokenizer: SequenceTokenizer;
  readonly calibration: LoadedSequences | undefined;
  readonly evaluation: LoadedSequences | undefined;
  readonly output: OutputFolder;
  readonly threads: number;
  readonly progress: Progress;
}

/**
 * The original model's queries and keys on the user's sequences. Feature maps are fitted to them and compared with softmax
 * on them. Close with {@link Activations.close}.
 */
export class Activations {
  readonly #input: ActivationsInput;
  readonly #samples: TappedModel<SampleTap>;
  readonly #pool: HeadPool;
  readonly #isMaskedModel: boolean;

  private constructor(input: ActivationsInput, samples: TappedModel<SampleTap>, isMaskedModel: boolean) {
    this.#input = input;
    this.#samples = samples;
    this.#isMaskedModel = isMaskedModel;
    this.#pool = new HeadPool(input.threads);
  }

  /**
   * @throws {InputError} `model-fails-to-run`, `model-inputs-unknown`; {UsageError} `bad-arguments` if there is
   * calibration data but no attention to calibrate; {OutputError}.
   */
  static async open(input: ActivationsInput): Promise<Activations> {
    const { attention, source, tokenizer, output, calibration, evaluation, progress } = input;
    const samples = await openTapped("samples.onnx", attention.tapSamples(), output, optionsOf(input));
    try {
      if (calibration !== undefined && samples.taps.length === 0) throw cannotCalibrate(samples.notes, attention);
      for (const note of samples.notes) progress.note(note);
      const names = attention.outputs;
      const [first] = (calibration ?? evaluation!).sequences;
      const vocabulary = source.config.vocab_size ?? tokenizer.size;
      const { isLogits } = await mainOutput(samples.runner, first!.ids, vocabulary, names);
      return new Activations(input, samples, isLogits);
    } catch (error) {
      await samples.runner.close();
      throw error;
    }
  }

  /** Notes on attention that cannot be calibrated, because it is inside a body of If, Loop or Scan. */
  get notes(): readonly string[] {
    return this.#samples.notes;
  }

  /** Statistics and feature maps for `convertAttention`; none without calibration data. */
  async fit(): Promise<Pick<ConvertOptions, "moments" | "featureMaps">> {
    const { calibration, options, progress } = this.#input;
    if (calibration === undefined || this.#samples.taps.length === 0) return {};
    const inputs = this.#inputsOf(calibration);
    progress.stage("Calibrating", inputs.length);
    const moments = await this.#moments(inputs);
    const isFitted = options.features === "landmark" || (options.seeds ?? 1) > 1;
    if (!isFitted) return { moments };
    const featureMaps = await fitSites(
      this.#samples.runner,
      this.#samples.taps,
      moments,
      inputs,
      options,
      this.#pool,
      progress,
    );
    return { moments, featureMaps };
  }

  async #moments(inputs: readonly (readonly number[])[]): Promise<(HeadMoments[] | undefined)[]> {
    const { attention, output, progress } = this.#input;
    const tick = (done: number): void => progress.advance(done);
    const { runner: whole, taps: sampled } = this.#samples;
    if (whole.fixedLength !== undefined || whole.fixedBatch !== undefined) {
      return gatherUnpaddedMoments(whole, sampled, inputs, tick);
    }
    const options = { ...optionsOf(this.#input), feeding: whole.feeding };
    const { runner, taps } = await openTapped("moments.onnx", attention.tapMoments(), output, options);
    return gatherMoments(runner, taps, inputs, tick).finally(() => runner.close());
  }

  /** Errors by site number, measured on evaluation data if there is any, because the fit has not seen it. */
  async errors(sites: readonly ConvertedSite[]): Promise<(SiteError | undefined)[]> {
    const { calibration, evaluation, progress } = this.#input;
    const inputs = evaluation === undefined ? this.#inputsOf(calibration!).toReversed() : this.#inputsOf(evaluation);
    const tapped = new Set(this.#samples.taps.map(({ site }) => site));
    const measured = sites.flatMap(({ site, causal, featureMaps }) =>
      featureMaps === undefined || !tapped.has(site) ? [] : [{ site, causal, featureMaps }],
    );
    if (measured.length === 0) return [];
    return siteErrors(this.#samples.runner, this.#samples.taps, measured, inputs, this.#pool, progress);
  }

  /** Ends the threads and removes temporary files. */
  async close(): Promise<void> {
    await this.#pool.close();
    await this.#samples.runner.close();
    await (await this.#input.output.scratch()).remove();
  }

  #inputsOf({ sequences, use }: LoadedSequences): (readonly number[])[] {
    return calibrationInputs(sequences, this.#input.tokenizer, this.#isMaskedModel, use.seed);
  }
}

function cannotCalibrate(notes: readonly string[], { sites }: ModelAttention): UsageError {
  if (notes.length === 0 && sites.some(({ mask }) => mask.band)) {
    return new UsageError(
      "Nothing can be calibrated. The attention that can be converted is within windows and is computed exactly, without " +
        "features. Convert it without --calibrate.",
      { code: "bad-arguments" },
    );
  }
  const found = notes[0] ?? "The model has no attention that can be converted.";
  return new UsageError(
    `Nothing can be calibrated. ${found} Convert it without --calibrate, or export the model without the branch or ` +
      "loop (onnxsim removes branches whose condition is constant).",
    { code: "bad-arguments", details: { notes } },
  );
}

function optionsOf({ attention, source, threads, tokenizer }: ActivationsInput): RunnerOptions {
  return { ...runnerOptions(source.config, tokenizer), threads, judgedBy: attention.outputs };
}
