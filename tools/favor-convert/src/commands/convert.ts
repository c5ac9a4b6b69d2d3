import { availableParallelism } from "node:os";
import { join } from "node:path";

import { findAttention } from "@favor/rewriter";
import type { Conversion, ConvertOptions, ConvertedSite, ModelAttention } from "@favor/rewriter";
import { writeModel } from "@favor/onnx/node";

import { InputError, UsageError } from "@favor/checkpoints";
import { companionsIn, copyCompanions } from "@favor/checkpoints/node";
import { OutputFolder, checkOutput, prepareOutput } from "@favor/checkpoints/node";
import type { Comparison } from "@favor/measure";
import { silent } from "@favor/checkpoints";
import type { Progress } from "@favor/checkpoints";
import type { FavorFile, FavorOptions, MeasuredSpeed } from "@favor/report";
import type { DataWarning } from "@favor/measure/tokens";
import type { Evaluation } from "@favor/measure";
import { lossInPoints } from "@favor/measure/judgement";
import { reportFiles, siteCosts, siteRecord } from "@favor/report";
import { breakEvenOf, doubtAboutGain } from "./break-even.ts";
import type { BreakEven } from "./break-even.ts";
import { conversionDoubts } from "./conversion-doubts.ts";
import { cardFacts } from "./card-facts.ts";
import { checkConfiguration } from "./check-configuration.ts";
import { maximumTokens } from "@favor/checkpoints/node";
import { checkWeights } from "@favor/checkpoints/node";
import { onnxFileOf, openSourceModel } from "@favor/checkpoints/node";
import type { OpenedSource } from "@favor/checkpoints/node";
import { openSource } from "@favor/checkpoints/node";
import type { Source } from "@favor/checkpoints/node";
import { readRecords } from "@favor/measure/data";
import { versions } from "../versions.ts";
import type { Activations } from "../calibrate/activations.ts";
import { checkBlock, checkKept, maskOperations, optionsOf } from "./request.ts";
import type { ConvertRequest } from "./request.ts";
import { opsetOf } from "./opset-of.ts";
import { planOf } from "./plan.ts";
import { rewriteOptions } from "./rewrite-options.ts";
import { unknownLengths } from "./unknown-lengths.ts";
import type { Plan } from "./plan.ts";
import { openData } from "./open-data.ts";
import type { Data } from "./open-data.ts";
import { layersByError, withinBudget } from "./within-budget.ts";

export interface ConvertResult {
  /** The folder written, absolute. */
  readonly folder: string;
  readonly sites: readonly ConvertedSite[];
  readonly notes: readonly string[];
  /** Reasons to doubt the calibration or the measured quality. */
  readonly warnings: readonly DataWarning[];
  /** The contents of `favor.json`. */
  readonly favor: FavorFile;
  /** From which length on attention takes less computation; absent if it never does. */
  readonly breakEven?: BreakEven;
  /** Time and memory of both models, if `speed` was asked for. */
  readonly speed?: MeasuredSpeed;
}

/** What a conversion would do. Nothing is written, and of data files only the first record is read. */
export interface DryRunResult {
  readonly folder: undefined;
  readonly sites: readonly ConvertedSite[];
  readonly notes: readonly string[];
  readonly warnings: readonly DataWarning[];
  readonly favor: undefined;
  /** What the conversion would give, and take. */
  readonly plan: Plan;
}

/**
 * Converts a checkpoint to linear attention: reads it, calibrates, rewrites, measures, and writes a folder with the
 * model, its configuration and tokenizer, `favor.json`, `report.html` and a model card. The folder appears complete or
 * not at all. The same request gives the same bytes.
 *
 * @param request - see {@link ConvertRequest}.
 * @param progress - receives progress and warnings; default: none.
 * @returns what was written; for a dry run, only the sites and notes.
 * @throws {UsageError} for options that contradict each other or the output folder's state; {InputError} for malformed
 * input; the errors of `@favor/onnx` for a model that cannot be read or has nothing to convert;
 * {OutputError} if the disk refuses.
 */
export function convert(
  request: ConvertRequest & { readonly dryRun: true },
  progress?: Progress,
): Promise<DryRunResult>;
export function convert(
  request: ConvertRequest & { readonly dryRun?: false },
  progress?: Progress,
): Promise<ConvertResult>;
export function convert(request: ConvertRequest, progress?: Progress): Promise<ConvertResult | DryRunResult>;
export async function convert(
  request: ConvertRequest,
  progress: Progress = silent,
): Promise<ConvertResult | DryRunResult> {
  const options = optionsOf(request);
  const began = performance.now();
  const source = await openSource(request.source, request, progress);
  if (request.dryRun !== true && request.output === undefined) {
    throw new UsageError("Name the folder to write with -o <dir>, or pass --dry-run to write nothing.", {
      code: "bad-arguments",
    });
  }
  const outputOptions = {
    force: request.force ?? false,
    sources: [source.folder, source.modelPath],
    files: [modelFile, `${modelFile}_data`, ...reportFiles, ...(await companionsIn(source.folder))],
    interrupted: () => progress.note("Interrupted, nothing written."),
  };
  if (request.output !== undefined) {
    if (request.dryRun === true) await checkOutput(request.output, outputOptions);
    else await prepareOutput(request.output, outputOptions, progress);
  }
  progress.stage("Reading the model");
  const opened = await openSourceModel(source);
  try {
    const { model } = opened;
    checkWeights(model, source.modelPath);
    const attention = findAttention(model, { maskOperations });
    checkKept(options.keep, new Set(attention.sites.map((site) => site.layer)));
    checkBlock(options, attention.sites);
    const notes = [...opened.notes, ...attention.notes, ...checkConfiguration(source.config, attention.sites)];
    if (request.dryRun === true) {
      for (const path of [request.calibrate, request.evaluate]) await checkData(path, request.column);
      const converted = attention.convert(rewriteOptions(options, options.keep));
      const unread = request.calibrate === undefined && request.evaluate === undefined ? [] : [dataUnread];
      const all = [...notes, ...converted.notes, ...unread];
      const plan = await planOf(request, options, source, opened.model, converted, {
        opened: performance.now() - began,
        longestInput: attention.longestInput,
      });
      const warnings = [doubtAboutGain(plan.breakEven)].filter((doubt) => doubt !== undefined);
      for (const { message } of warnings) progress.warn(message);
      return { folder: undefined, sites: converted.sites, notes: all, warnings, favor: undefined, plan };
    }
    const data = await openData(request, source, attention, options.seed);
    for (const { message } of data.warnings) progress.warn(message);
    for (const note of data.notes) progress.note(note);
    notes.push(...data.notes);
    const output = await OutputFolder.begin(request.output!, outputOptions);
    try {
      const threads = request.threads ?? availableParallelism();
      const result = await writeConverted(
        { options, source, opened, attention, data, output, threads, speed: request.speed, progress },
        notes,
      );
      await output.commit();
      return { folder: output.path, ...result };
    } catch (error) {
      await output.discard();
      throw error;
    }
  } finally {
    progress.end();
    opened.close();
  }
}

interface Job {
  readonly options: FavorOptions;
  readonly source: Source;
  readonly opened: OpenedSource;
  /** The source's attention, found and proved once for everything below. */
  readonly attention: ModelAttention;
  readonly data: Data;
  readonly output: OutputFolder;
  readonly threads: number;
  /** Lengths at which to measure the speed. */
  readonly speed: ConvertRequest["speed"];
  readonly progress: Progress;
}

const modelFile = "onnx/model.onnx";

const dataUnread = "The data files were not read: a dry run fits and measures nothing.";

/** Reads the first record of a data file, so that a dry run finds a file that is missing, or is no data. */
async function checkData(path: string | undefined, column: string | undefined): Promise<void> {
  if (path === undefined) return;
  for await (const _ of readRecords(path, { column })) return;
}

/** Fills the output folder. */
async function writeConverted(job: Job, found: readonly string[]): Promise<Omit<ConvertResult, "folder">> {
  const { options, source, opened, attention, data, output, progress } = job;
  // The source is hashed while its attention is rewritten and the result written.
  const hashing = opened.sha256();
  hashing.catch(() => undefined);
  const { attempt, errors, uncalibrated } = await rewrite(job);
  const { conversion, evaluation, bytes, sha256 } = attempt;
  progress.stage("Writing the folder");
  const changes = { maxLength: options.maxLength, externalData: attempt.hasExternalData };
  const notCopied = await copyCompanions(source, output, changes);
  const sites = conversion.sites.map((site) => siteRecord(site, errors[site.site]));
  const longest = options.maxLength ?? maximumTokens(source.config, attention.longestInput);
  const short = unknownLengths(data, longest);
  const notes = [...found, ...conversion.notes, ...uncalibrated, ...short, ...notCopied];
  const breakEven = breakEvenOf(siteCosts({ sites }), longest);
  const vocabulary = source.config.vocab_size ?? data.tokenizer?.size;
  const doubts = await conversionDoubts(
    { evaluation, vocabulary, breakEven, options, sites, calibration: data.calibration?.use },
    progress,
  );
  const warnings = [...data.warnings, ...doubts];
  const favor: FavorFile = {
    format: 3,
    versions: { ...versions },
    source: {
      name: source.name,
      ...(source.revision !== undefined && { revision: source.revision }),
      ...(source.task !== undefined && { task: source.task }),
      model: source.modelName,
      sha256: await hashing,
      bytes: opened.length,
    },
    model: { file: modelFile, sha256, bytes },
    card: await cardFacts(source, opened.model, conversion.model, evaluation?.kind === "masked-language"),
    options,
    sites,
    notes,
    ...(warnings.length > 0 && { warnings }),
    ...(data.calibration === undefined ? {} : { calibration: data.calibration.use }),
    ...(evaluation === undefined ? {} : { evaluation }),
  };
  const speed = await measuredSpeed(job, longest);
  const { writeReport } = await import("@favor/report/pages");
  const written = await writeReport(output, favor, [], speed);
  return {
    sites: conversion.sites,
    notes,
    warnings,
    favor: written,
    ...(breakEven && { breakEven }),
    ...(speed && { speed }),
  };
}

/** Lengths at which speed is measured unless they are given: the longest up to this, and a quarter of it. */
const usualSpeed = 2048;

/** @param longest - the longest input of the converted model in tokens; undefined: no limit. */
async function measuredSpeed(
  { source, output, threads, speed, progress }: Job,
  longest: number | undefined,
): Promise<MeasuredSpeed | undefined> {
  if (speed === undefined || speed.length === 0) return undefined;
  progress.stage("Measuring the speed of both models");
  const { compareSpeed } = await import("../speed/speed.ts");
  const converted = await output.pathFor(modelFile);
  if (speed !== "auto") return compareSpeed(source, converted, { lengths: speed, threads });
  const most = Math.min(longest ?? usualSpeed, usualSpeed);
  try {
    return await compareSpeed(source, converted, { lengths: [Math.max(1, Math.floor(most / 4)), most], threads });
  } catch (error) {
    // Nobody asked for it: the conversion is good without.
    if (!(error instanceof InputError)) throw error;
    progress.note(`The speed was not measured: ${error.message}`);
    return undefined;
  }
}

/** A converted model on disk. */
interface Attempt {
  readonly conversion: Conversion;
  readonly bytes: number;
  readonly sha256: string;
  /** Whether it has external data. */
  readonly hasExternalData: boolean;
  readonly evaluation: Evaluation | undefined;
}

type Fitted = Pick<ConvertOptions, "moments" | "featureMaps" | "exactKeys">;

interface Rewritten {
  readonly attempt: Attempt;
  readonly errors: FavorFile["sites"][number]["error"][];
  /** Notes on attention whose queries and keys are not seen. */
  readonly uncalibrated: readonly string[];
}

/** Calibrates, converts and measures; with a budget, as often as it takes. */
async function rewrite(job: Job): Promise<Rewritten> {
  const { options, data } = job;
  if (data.tokenizer === undefined) {
    return { attempt: await convertTo({}, options.keep, job, undefined), errors: [], uncalibrated: [] };
  }
  const { Activations } = await import("../calibrate/activations.ts");
  const activations = await Activations.open({
    ...job,
    ...data,
    tokenizer: data.tokenizer,
    opset: opsetOf(job.opened.model),
  });
  let comparison: Comparison | undefined;
  try {
    const fitted = await activations.fit();
    comparison = await openComparison(job);
    const first = await convertTo(fitted, options.keep, job, comparison);
    const errors = await activations.errors(first.conversion.sites);
    const attempt = await keepWithin(options.budget, first, errors, fitted, job, comparison);
    return { attempt, errors, uncalibrated: activations.notes };
  } finally {
    await activations.close();
    await comparison?.close();
  }
}

async function openComparison({
  options,
  source,
  data,
  output,
  threads,
  progress,
}: Job): Promise<Comparison | undefined> {
  const { tokenizer, evaluation } = data;
  if (tokenizer === undefined || evaluation === undefined) return undefined;
  const { Comparison } = await import("@favor/measure");
  const scratch = await output.scratch();
  const original = await output.fill(() => onnxFileOf(source, join(scratch.path, "original.onnx")));
  return Comparison.open({ source, original, tokenizer, threads, pooling: options.pooling, ...evaluation }, progress);
}

/** The first attempt if its loss is within the budget, otherwise one that keeps the layers with the largest errors. */
async function keepWithin(
  budget: number | undefined,
  first: Attempt,
  errors: Awaited<ReturnType<Activations["errors"]>>,
  fitted: Fitted,
  job: Job,
  comparison: Comparison | undefined,
): Promise<Attempt> {
  if (budget === undefined || first.evaluation === undefined) return first;
  const byError = layersByError(first.conversion.sites, errors);
  const judged = { loss: lossInPoints(first.evaluation), attempt: first, also: [] as readonly number[] };
  let last = judged;
  const best = await withinBudget(budget, byError, async (also) => {
    if (also.length === 0) return judged;
    const attempt = await convertTo(fitted, [...job.options.keep, ...also], job, comparison);
    last = { loss: lossInPoints(attempt.evaluation!), attempt, also };
    return last;
  });
  if (best === last) return best.attempt;
  // A later attempt has overwritten the file: write the best one again.
  const again = await convertTo(fitted, [...job.options.keep, ...best.also], job, undefined);
  return { ...again, evaluation: best.attempt.evaluation };
}

/** Converts the source, keeping these layers, and writes and judges the model. */
async function convertTo(
  fitted: Fitted,
  keep: readonly number[],
  { options, attention, output, progress }: Job,
  comparison: Comparison | undefined,
): Promise<Attempt> {
  progress.stage("Rewriting the attention");
  const conversion = attention.convert({ ...rewriteOptions(options, keep), ...fitted });
  const modelPath = await output.pathFor(modelFile);
  const written = await output.fill(() => writeModel(conversion.model, modelPath, { sha256: true }));
  const evaluation = await comparison?.compare(modelPath);
  const { length: bytes, sha256 } = written.model;
  for (const file of [written.model, written.data]) {
    if (file?.sha256 !== undefined) output.hashed(file.path, file.sha256, file.length);
  }
  return { conversion, bytes, sha256: sha256!, hasExternalData: written.data !== undefined, evaluation };
}
