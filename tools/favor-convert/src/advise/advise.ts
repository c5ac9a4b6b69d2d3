import { rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";

import { silent } from "@favor/checkpoints";
import type { Progress } from "@favor/checkpoints";
import {
  OutputFolder,
  checkWeights,
  makeScratchFolder,
  maximumTokens,
  onnxFileOf,
  openSource,
  openSourceModel,
} from "@favor/checkpoints/node";
import type { OpenedSource, Source } from "@favor/checkpoints/node";
import { refuseIf } from "@favor/command-line";
import { doubtAboutOriginal, runnerOptions } from "@favor/measure";
import { warningsAbout } from "@favor/measure/judgement";
import { checkVocabulary, doubtsAbout, loadSequences, loadTokenizer } from "@favor/measure/tokens";
import type { DataWarning } from "@favor/measure/tokens";
import { grouped } from "@favor/measure/numbers";
import { siteCosts, siteRecord } from "@favor/report";
import type { PassCost } from "@favor/report";
import { findAttention } from "@favor/rewriter";
import type { ModelAttention } from "@favor/rewriter";

import { breakEvenOf, doubtAboutGain } from "../commands/break-even.ts";
import { weightBytes } from "../commands/card-facts.ts";
import { checkConfiguration } from "../commands/check-configuration.ts";
import { longestSequence } from "../commands/longest-sequence.ts";
import { maskOperations } from "../commands/request.ts";
import { timeInTurns } from "../speed/in-turns.ts";
import { longEnough, machineToday } from "../speed/speed.ts";
import { lossAtLongest } from "./loss.ts";
import { describeWeights, recommend } from "./recommend.ts";
import type { Advice, AdviceRow, AdviceWarning, AdviseRequest } from "./request.ts";
import { divideSequences, passCost } from "./sample.ts";
import { originalTrial, tryVariants } from "./trial.ts";
import type { Trial, TrialInput } from "./trial.ts";
import { byCalibration, commandOf, variantsFor } from "./variants.ts";

/** Lengths to measure at, in tokens, and the largest loss in points. */
const defaults = { lengths: [512, 2048, 8192], budget: 1 };

/** Sequences to read from the data file; as many are used as time allows. */
const readSequences = 400;

/** Data that reach this share of the longest length tell the quality there. */
const reached = 0.5;

/** Runtimes take more than the computed memory by so much, the model aside. */
const allowance = 1.5;

/**
 * Compares the ways to convert a model, by short measurements on this machine: quality on the user's data, time and memory
 * at several lengths; and recommends one. All models lie in a temporary folder, which is removed.
 *
 * @throws {UsageError} `bad-arguments`; {InputError} for malformed input; the errors of `@favor/onnx` for a model that
 * cannot be read, or whose positions cannot grow to the lengths.
 */
export async function advise(request: AdviseRequest, progress: Progress = silent): Promise<Advice> {
  refuseIf(
    request.data === undefined && (request.column !== undefined || request.pooling !== undefined),
    "--column and --pooling say how a data file is read and measured: pass it with --data.",
  );
  const source = await openSource(request.source, request, progress);
  progress.stage("Reading the model");
  const opened = await openSourceModel(source);
  const scratch = makeScratchFolder("advise");
  try {
    const remove = (): void => rmSync(scratch, { recursive: true, force: true });
    const output = await OutputFolder.begin(join(scratch, "work"), { force: false, sources: [], interrupted: remove });
    try {
      return await adviseOn(request, source, opened, output, progress);
    } finally {
      await output.discard();
    }
  } finally {
    progress.end();
    opened.close();
    await rm(scratch, { recursive: true, force: true });
  }
}

async function adviseOn(
  request: AdviseRequest,
  source: Source,
  opened: OpenedSource,
  output: OutputFolder,
  progress: Progress,
): Promise<Advice> {
  const { model } = opened;
  checkWeights(model, source.modelPath);
  const attention = findAttention(model, { maskOperations });
  const longest = maximumTokens(source.config, attention.longestInput);
  const lengths = (request.lengths ?? lengthsFor(longest ?? maximumTokens(source.config))).toSorted((a, b) => a - b);
  const last = lengths.at(-1)!;
  const maxLength = longest !== undefined && last > longest ? last : undefined;
  const tooLarge = lengths.filter((length) => !fits(attention, length));
  const budget = request.budget ?? defaults.budget;
  const threads = request.threads ?? availableParallelism();
  const data = await openData(request, source, attention, weightBytes(model), Math.min(last, ...tooLarge));
  const input: TrialInput = {
    source,
    model,
    attention,
    original: await output.fill(async () => onnxFileOf(source, await output.pathFor("original.onnx"))),
    data,
    pooling: request.pooling,
    maxLength,
    budget,
    output,
    threads,
    progress,
  };
  const trials = await tryVariants(variantsFor(attention.sites, data !== undefined), input);
  const long = await longEnough(source, last, output.partial);
  const all = [originalTrial(long), ...trials];
  const vocabulary = source.config.vocab_size ?? data?.tokenizer.size;
  const chance = chanceOf(trials, vocabulary);
  const rows = await timed(all, { lengths, tooLarge, isTelling: chance === undefined, input, request });
  const weights = { lengths, budget, isKnown: data !== undefined && data.longest >= reached * last };
  const measured = rows.map((row) => ({ ...row, costs: row.costs.map((cost) => cost ?? undefined) }));
  const chosen = recommend(measured, weights);
  const breakEven = breakEvenAmong(trials, maxLength ?? longest);
  const warnings = [
    ...(data?.warnings ?? []),
    ...(chance ? [chance] : chosen?.row.evaluation ? warningsAbout(chosen.row.evaluation) : []),
    ...doubtsOf({ longest, last, data, breakEven }),
  ];
  for (const { message } of warnings) progress.warn(message);
  return {
    source: source.name,
    lengths,
    budget,
    ...machineToday(),
    threads,
    ...(data && { data: { calibration: data.calibration.use, evaluation: data.evaluation.use } }),
    rows,
    ...(breakEven && { breakEven }),
    rule: describeWeights(weights),
    ...(chosen && {
      recommendation: {
        name: chosen.row.name,
        reason: chosen.reason,
        ...(chosen.row.command !== undefined && { command: chosen.row.command }),
      },
    }),
    warnings,
    notes: [...opened.notes, ...attention.notes, ...checkConfiguration(source.config, attention.sites)],
  };
}

/** The default lengths, as far as the model takes them, and its longest input. */
function lengthsFor(longest: number | undefined): number[] {
  const within = defaults.lengths.filter((length) => length <= (longest ?? Infinity));
  return longest === undefined || longest > defaults.lengths.at(-1)! ? within : [...new Set([...within, longest])];
}

/** Whether the original's pass fits into the memory that is free; unknown counts as yes. */
function fits(attention: ModelAttention, length: number): boolean {
  const [memory] = attention.memory([length]);
  return memory === undefined || memory.original * allowance < process.availableMemory();
}

type OpenData = NonNullable<TrialInput["data"]> & {
  readonly warnings: readonly DataWarning[];
  /** Tokens of the longest sequence that is measured. */
  readonly longest: number;
};

async function openData(
  request: AdviseRequest,
  source: Source,
  attention: ModelAttention,
  bytes: number,
  maxLength: number,
): Promise<OpenData | undefined> {
  const { data: path, column } = request;
  if (path === undefined) return undefined;
  const tokenizer = await loadTokenizer(source.folder);
  checkVocabulary(tokenizer, source.config.vocab_size ?? undefined, source.folder);
  const loaded = await loadSequences(path, tokenizer, {
    count: readSequences,
    seed: 0,
    ...longestSequence(source, attention.longestInput, { maxLength }),
    column,
    withLongest: true,
  });
  const divided = divideSequences(loaded, passCost(attention.sites, bytes / Float32Array.BYTES_PER_ELEMENT));
  const warnings = doubtsAbout({ tokenizer, ...divided, calibrateCount: divided.calibration.sequences.length });
  // Both parts are of one file, and no sequence is in both.
  const own = warnings.filter(({ code }) => code !== "evaluation-not-independent" && code !== "calibration-small");
  const longest = Math.max(...divided.evaluation.sequences.map(({ ids }) => ids.length));
  return { path, tokenizer, ...divided, warnings: own, longest };
}

interface Timing {
  readonly lengths: readonly number[];
  /** Lengths at which the original does not fit into memory. */
  readonly tooLarge: readonly number[];
  /** Whether what was measured tells the quality. */
  readonly isTelling: boolean;
  readonly input: TrialInput;
  readonly request: AdviseRequest;
}

/** Times all variants at all lengths. */
async function timed(
  trials: readonly Trial[],
  { lengths, tooLarge, isTelling, input, request }: Timing,
): Promise<AdviceRow[]> {
  const { source, threads, progress, maxLength } = input;
  const costs = trials.map((): (PassCost | null)[] => []);
  const failures = trials.map(({ failure }) => failure);
  for (const length of lengths) {
    const isTooLarge = tooLarge.includes(length);
    // Kept layers take as much memory as the original.
    const runnable = trials.flatMap(({ path, request: { keep } }, i) =>
      path === undefined || (isTooLarge && (i === 0 || keep !== undefined)) ? [] : [{ i, path }],
    );
    progress.stage(`Timing at ${grouped(length)} tokens`, runnable.length);
    const models = runnable.map(({ path }) => ({ path, options: runnerOptions(source.config) }));
    const failed = ({ message }: Error): void => progress.note(message);
    const answers = await timeInTurns(models, { length, threads, failed, tick: (done) => progress.advance(done) });
    for (const each of costs) each.push(null);
    for (const [place, { i }] of runnable.entries()) costs[i]![costs[i]!.length - 1] = answers[place] ?? null;
    if (isTooLarge) failures[0] ??= `At ${grouped(length)} tokens it needs more memory than is free.`;
  }
  return trials.map((trial, i) => ({
    name: trial.name,
    ...(i > 0 && { command: commandOf(trial, { source: request.source, data: request.data, maxLength }) }),
    isLossless: trial.isLossless,
    ...(trial.evaluation && { evaluation: trial.evaluation }),
    ...(trial.evaluation && isTelling && { loss: lossAtLongest(trial.evaluation) }),
    costs: costs[i]!,
    ...(failures[i] !== undefined && { failure: failures[i] }),
  }));
}

/** The doubt about an original that predicts no more than guessing does. */
function chanceOf(trials: readonly Trial[], vocabulary: number | undefined): DataWarning | undefined {
  const first = trials.find(({ evaluation }) => evaluation !== undefined)?.evaluation;
  return first === undefined || vocabulary === undefined ? undefined : doubtAboutOriginal(first, vocabulary);
}

/** Where the conversion that calibration chose breaks even, or else that of 64 features. */
function breakEvenAmong(trials: readonly Trial[], longest: number | undefined) {
  const usual = trials.find(({ name }) => name === byCalibration) ?? trials.find(({ request }) => request.count === 64);
  if (usual?.conversion === undefined) return undefined;
  return breakEvenOf(siteCosts({ sites: usual.conversion.sites.map((site) => siteRecord(site, undefined)) }), longest);
}

interface Known {
  readonly longest: number | undefined;
  readonly last: number;
  readonly data: OpenData | undefined;
  readonly breakEven: Advice["breakEven"];
}

function doubtsOf({ longest, last, data, breakEven }: Known): AdviceWarning[] {
  const doubts: (AdviceWarning | undefined)[] = [doubtAboutGain(breakEven)];
  if (longest !== undefined && last > longest) {
    doubts.push({
      code: "positions-grown",
      message:
        `The model takes at most ${grouped(longest)} tokens. Its position table was repeated for longer inputs, to time ` +
        "them: this teaches the model nothing about them.",
    });
  }
  if (data !== undefined && data.longest < last) {
    doubts.push({
      code: "quality-unknown-beyond",
      message:
        `The longest sequence that was measured has ${grouped(data.longest)} tokens: nothing is known of the quality beyond. ` +
        "Use data as long as what you will use the model for.",
    });
  }
  return doubts.filter((doubt) => doubt !== undefined);
}
