import { join } from "node:path";

import { FavorError } from "@favor/core";
import { messageOf } from "@favor/checkpoints";
import type { Progress } from "@favor/checkpoints";
import type { OutputFolder, Source } from "@favor/checkpoints/node";
import { Comparison } from "@favor/measure";
import type { Evaluation } from "@favor/measure";
import { lossInPoints } from "@favor/measure/judgement";
import type { ModelProto } from "@favor/onnx";
import { writeModel } from "@favor/onnx/node";
import type { FavorOptions } from "@favor/report";
import type { Conversion, ConvertOptions, ModelAttention } from "@favor/rewriter";
import type { SequenceTokenizer } from "@favor/measure/tokens";

import { Activations } from "../calibrate/activations.ts";
import { opsetOf } from "../commands/opset-of.ts";
import { optionsOf } from "../commands/request.ts";
import { rewriteOptions } from "../commands/rewrite-options.ts";
import { layersByError, withinBudget } from "../commands/within-budget.ts";
import type { Divided } from "./sample.ts";
import { asItIs, byCalibration } from "./variants.ts";
import type { Variant } from "./variants.ts";

/** What all variants are made from, and measured on. */
export interface TrialInput {
  readonly source: Source;
  readonly model: ModelProto;
  readonly attention: ModelAttention;
  /** The source as an ONNX file. */
  readonly original: string;
  /** The file whose sequences these are. */
  readonly data: ({ readonly path: string; readonly tokenizer: SequenceTokenizer } & Divided) | undefined;
  readonly pooling: NonNullable<FavorOptions["pooling"]> | undefined;
  /** To grow the position table to. */
  readonly maxLength: number | undefined;
  readonly budget: number;
  readonly output: OutputFolder;
  readonly threads: number;
  readonly progress: Progress;
}

/** A variant that was converted, and measured if there are data. */
export interface Trial extends Variant {
  /** Its `.onnx` file; absent if it could not be converted. */
  readonly path?: string;
  readonly conversion?: Conversion;
  readonly evaluation?: Evaluation;
  /** Why it could not be converted. */
  readonly failure?: string;
}

type Fitted = Partial<ConvertOptions>;

/**
 * Converts a model in every way, and measures the quality of each. The data are run once for the fits of all.
 *
 * @returns in the order of the variants; after the one that calibration chose, the same with layers kept, if that loses more
 * than the budget.
 * @throws {InputError} and whatever calibrating and measuring throws.
 */
export async function tryVariants(variants: readonly Variant[], input: TrialInput): Promise<Trial[]> {
  const { data, source, threads, pooling, original, progress } = input;
  const fits = new Map<Variant, Fitted>();
  const estimated = variants.filter(({ isLossless }) => !isLossless);
  if (data === undefined || estimated.length === 0) {
    const trials: Trial[] = [];
    for (const [number, variant] of variants.entries()) {
      trials.push(await tryOne(variant, String(number), {}, input, undefined));
    }
    return trials;
  }
  const { tokenizer, calibration, evaluation } = data;
  const activations = await Activations.open({
    ...input,
    options: optionsFor(estimated[0]!, input),
    opset: opsetOf(input.model),
    tokenizer,
    calibration,
    evaluation,
  });
  try {
    const fitted = await activations.fitAll(estimated.map((variant) => optionsFor(variant, input)));
    for (const [i, variant] of estimated.entries()) fits.set(variant, fitted[i]!);
    const comparison = await Comparison.open(
      { source, original, tokenizer, threads, pooling, ...evaluation },
      progress,
    );
    try {
      const trials: Trial[] = [];
      for (const [number, variant] of variants.entries()) {
        const fit = fits.get(variant) ?? {};
        const trial = await tryOne(variant, String(number), fit, input, variant.isLossless ? undefined : comparison);
        trials.push(trial);
        if (variant.name === byCalibration)
          trials.push(...(await withLayersKept(trial, fit, input, activations, comparison)));
      }
      return trials;
    } finally {
      await comparison.close();
    }
  } finally {
    await activations.close();
  }
}

function optionsFor({ request, isLossless }: Variant, { source, data, maxLength, pooling }: TrialInput): FavorOptions {
  const calibrate = isLossless ? undefined : data?.path;
  return optionsOf({
    source: source.folder,
    ...request,
    ...(calibrate !== undefined && { calibrate, evaluate: calibrate }),
    ...(calibrate !== undefined && pooling !== undefined && { pooling }),
    ...(maxLength !== undefined && { maxLength }),
  });
}

/** @param name - of the file that is written, without its end. */
async function tryOne(
  variant: Variant,
  name: string,
  fitted: Fitted,
  input: TrialInput,
  comparison: Comparison | undefined,
): Promise<Trial> {
  const { attention, output, progress } = input;
  const options = optionsFor(variant, input);
  progress.stage(`Converting: ${variant.name}`);
  try {
    const conversion = attention.convert({ ...rewriteOptions(options, options.keep), ...fitted });
    const path = await output.pathFor(join("variants", `${name}.onnx`));
    await output.fill(() => writeModel(conversion.model, path));
    const evaluation = await comparison?.compare(path);
    return { ...variant, path, conversion, ...(evaluation && { evaluation }) };
  } catch (error) {
    if (!FavorError.isInstance(error)) throw error;
    return { ...variant, failure: messageOf(error) };
  }
}

/** The same conversion with as few layers kept as the budget takes; none if it is within the budget. */
async function withLayersKept(
  { conversion, evaluation }: Trial,
  fitted: Fitted,
  input: TrialInput,
  activations: Activations,
  comparison: Comparison,
): Promise<Trial[]> {
  const { budget } = input;
  if (conversion === undefined || evaluation === undefined || lossInPoints(evaluation) <= budget) return [];
  const variant: Variant = { name: `${byCalibration}, layers kept`, request: { budget }, isLossless: false };
  const byError = layersByError(conversion.sites, await activations.errors(conversion.sites));
  let last: Trial | undefined;
  const tryKeeping = async (keep: readonly number[]): Promise<Trial> => {
    const request = { keep: keep.toSorted((a, b) => a - b) };
    last = await tryOne({ ...variant, request }, "kept", fitted, input, comparison);
    return last;
  };
  try {
    const best = await withinBudget(budget, byError, async (keep) => {
      const measured = keep.length === 0 ? evaluation : (await tryKeeping(keep)).evaluation;
      return { loss: measured === undefined ? Infinity : lossInPoints(measured), keep, trial: last };
    });
    // A later attempt has overwritten the file of an earlier one.
    const trial = best.trial === last ? best.trial! : await tryKeeping(best.keep);
    return [{ ...trial, name: `${byCalibration}, layers ${trial.request.keep!.join(", ")} kept` }];
  } catch (error) {
    if (!FavorError.isInstance(error)) throw error;
    return [{ ...variant, failure: messageOf(error) }];
  }
}

/** The model itself, as the first of the rows. */
export function originalTrial(path: string | undefined): Trial {
  return { name: asItIs, request: {}, isLossless: true, ...(path !== undefined && { path }) };
}
