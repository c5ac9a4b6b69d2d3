import { exactKeysOpset } from "@favor/rewriter";
import type { ConvertedSite, ModelAttention } from "@favor/rewriter";

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
import type { Fixed } from "./candidates.ts";
import { fitSites } from "./fit-sites.ts";
import type { FitPlan, Fitted } from "./fit-sites.ts";
import { HeadPool } from "./head-pool.ts";
import { siteErrors } from "./site-errors.ts";
import { openTapped } from "./tapped-model.ts";
import type { TappedModel } from "./tapped-model.ts";

/** Input of {@link Activations}. */
export interface ActivationsInput {
  readonly options: FavorOptions;
  readonly source: Source;
  readonly attention: ModelAttention;
  /** The model's version of the standard operators. */
  readonly opset: number;
  readonly tokenizer: SequenceTokenizer;
  readonly calibration: LoadedSequences | undefined;
  readonly evaluation: LoadedSequences | undefined;
  readonly output: OutputFolder;
  readonly threads: number;
  readonly progress: Progress;
}

/** Inputs of more tokens than this are run in memory that grows with their length alone. */
const longInput = 1024;

/**
 * The original model's queries and keys on the user's sequences. Feature maps are fitted to them and compared with softmax
 * on them. Close with {@link Activations.close}.
 */
export class Activations {
  readonly #input: ActivationsInput;
  readonly #tapped: TappedModel;
  readonly #pool: HeadPool;
  readonly #isMaskedModel: boolean;

  private constructor(input: ActivationsInput, tapped: TappedModel, isMaskedModel: boolean) {
    this.#input = input;
    this.#tapped = tapped;
    this.#isMaskedModel = isMaskedModel;
    this.#pool = new HeadPool(input.threads);
  }

  /**
   * @throws {InputError} `model-fails-to-run`, `model-inputs-unknown`; {UsageError} `bad-arguments` if there is
   * calibration data but no attention to calibrate; {OutputError}.
   */
  static async open(input: ActivationsInput): Promise<Activations> {
    const { attention, source, tokenizer, output, calibration, evaluation, progress } = input;
    const isLong = [calibration, evaluation].some((data) => data?.sequences.some(({ ids }) => ids.length > longInput));
    const model = attention.tapCalibration(isLong ? {} : undefined);
    const tapped = await openTapped(model, output, optionsOf(input));
    try {
      if (calibration !== undefined && tapped.taps.length === 0) throw cannotCalibrate(tapped.notes, attention);
      for (const note of tapped.notes) progress.note(note);
      const names = attention.outputs;
      const [first] = (calibration ?? evaluation!).sequences;
      const vocabulary = source.config.vocab_size ?? tokenizer.size;
      const { isLogits } = await mainOutput(tapped.runner, first!.ids, vocabulary, names);
      return new Activations(input, tapped, isLogits);
    } catch (error) {
      await tapped.runner.close();
      throw error;
    }
  }

  /** Notes on attention that cannot be calibrated, because it is inside a body of If, Loop or Scan. */
  get notes(): readonly string[] {
    return this.#tapped.notes;
  }

  /** Statistics and feature maps for `convertAttention`; none without calibration data. */
  async fit(): Promise<Partial<Fitted>> {
    const [fitted] = await this.fitAll([this.#input.options]);
    return fitted!;
  }

  /**
   * The same for several conversions, of which all have this kind of features and this seed: the model runs once.
   *
   * @returns in the order of the options.
   */
  async fitAll(all: readonly FavorOptions[]): Promise<Partial<Fitted>[]> {
    const { calibration, progress } = this.#input;
    const [first, ...others] = all.map((options) => this.#planOf(options));
    if (calibration === undefined || this.#tapped.taps.length === 0 || first === undefined) return all.map(() => ({}));
    const fitted = await fitSites(this.#tapped, this.#inputsOf(calibration), [first, ...others], this.#pool, progress);
    // The conversion and its measurements need the memory that idle threads would keep.
    await this.#pool.close();
    return fitted;
  }

  #planOf(options: FavorOptions): FitPlan {
    const chosen = new Set(options.chosen);
    const fixed: Fixed = {
      window: chosen.has("window") ? undefined : options.window,
      chosenBlocks: chosen.has("chosenBlocks") ? undefined : options.chosenBlocks,
      count: chosen.has("count") ? undefined : options.count,
    };
    return { options, fixedOf: (site) => (this.#hasExactKeys(site, options) ? fixed : undefined) };
  }

  /** Whether exact keys can stand beside a site's features, and are asked for or left to choose. */
  #hasExactKeys(site: number, options: FavorOptions): boolean {
    const { attention, opset } = this.#input;
    const { window = 0, chosen = [], features, stateful = false } = options;
    if (features !== "landmark" || (window === 0 && !chosen.includes("window"))) return false;
    const { kind, causal } = attention.sites[site]!;
    // What the user asks for is tried, so that a refusal names its reason.
    if (!chosen.includes("window")) return kind === "self";
    const { slopes } = this.#tapped.taps.find((tap) => tap.site === site)!;
    if (slopes !== undefined) return false;
    return kind === "self" && !causal && !stateful && opset >= exactKeysOpset;
  }

  /** Errors by site number, measured on evaluation data if there is any, because the fit has not seen it. */
  async errors(sites: readonly ConvertedSite[]): Promise<(SiteError | undefined)[]> {
    const { calibration, evaluation, progress } = this.#input;
    const inputs = evaluation === undefined ? this.#inputsOf(calibration!).toReversed() : this.#inputsOf(evaluation);
    const tapped = new Set(this.#tapped.taps.map(({ site }) => site));
    const measured = sites.flatMap(({ site, causal, featureMaps, exactKeys }) =>
      (featureMaps === undefined && exactKeys === undefined) || !tapped.has(site)
        ? []
        : [{ site, causal, featureMaps: featureMaps ?? [], exactKeys }],
    );
    if (measured.length === 0) return [];
    return siteErrors(this.#tapped, measured, inputs, this.#pool, progress);
  }

  /** Ends the threads and removes temporary files. */
  async close(): Promise<void> {
    await this.#pool.close();
    await this.#tapped.runner.close();
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
