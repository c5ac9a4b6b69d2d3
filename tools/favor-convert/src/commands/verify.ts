import { availableParallelism } from "node:os";

import { hashFile } from "@favor/onnx/node";

import { InputError, UsageError } from "@favor/checkpoints";
import { compareModels } from "@favor/measure";
import { checkPadding, checkPieces, checkSignature, checkSoftmaxEquality, probeSequences } from "@favor/measure";
import type { Check } from "@favor/measure";
import { ModelRunner, runnerOptions } from "@favor/measure";
import { silent } from "@favor/checkpoints";
import type { Progress } from "@favor/checkpoints";
import type { FavorFile } from "@favor/report";
import type { Evaluation } from "@favor/measure";
import { qualityOf } from "@favor/measure/judgement";
import { readFavorFile } from "@favor/report";
import { withOnnxFile } from "@favor/checkpoints/node";
import { openSource } from "@favor/checkpoints/node";
import type { Source, SourceOptions } from "@favor/checkpoints/node";
import { checkVocabulary, loadSequences } from "@favor/measure/tokens";
import { loadTokenizer } from "@favor/measure/tokens";

import { checkProof } from "./check-proof.ts";
import { longestInputOfSource } from "./longest-input.ts";
import { longestSequence } from "./longest-sequence.ts";
import type { LongestSequence } from "./longest-sequence.ts";

export interface VerifyRequest extends SourceOptions {
  /** The checkpoint that was converted, as `convert` takes it. */
  readonly original: string;
  /** The folder that `convert` wrote. */
  readonly converted: string;
  /** Data file to compare both models on. */
  readonly data?: string;
  /** JSON field, or CSV, TSV or Parquet column, with the text. Default: "text"; in files without it, "sequence". */
  readonly column?: string;
  readonly threads?: number;
}

export interface Verification {
  readonly passed: boolean;
  readonly checks: readonly Check[];
  /** The comparison on `data`, if given. */
  readonly evaluation: Evaluation | undefined;
}

/** The check that the others and the evaluation depend on. */
const runs = "model runs in onnxruntime";

/** Allowed difference between two evaluations of the same models on the same inputs: processors round differently. */
const evaluationTolerance = 0.005;

/**
 * Checks a converted folder against its original: that the files are those in `favor.json`, the
 * original's attention is proved replaceable again, inputs and outputs are the original's, padding changes nothing, a stateful model gives the same when fed in pieces, exact attention gives the
 * original's numbers, and, with data, the recorded quality can be reproduced.
 *
 * @throws {UsageError} `bad-arguments` for a column without data.
 * @throws {InputError} `converted-malformed` for a folder without a valid `favor.json`; and whatever reading
 * the models and the data throws. Failed checks are reported, not thrown.
 */
export async function verify(request: VerifyRequest, progress: Progress = silent): Promise<Verification> {
  if (request.column !== undefined && request.data === undefined) {
    throw new UsageError("--column names a column of a data file: pass one with --data.", { code: "bad-arguments" });
  }
  const opened = await openSource(request.original, request, progress);
  const converted = await openSource(request.converted);
  const favor = await readFavorFile(converted.folder);
  const { task } = favor.source;
  const original: Source = task === undefined ? opened : { ...opened, task };
  const threads = request.threads ?? availableParallelism();
  progress.stage("Checking the files");
  const { maximumTokens: limit } = longestSequence(original, await longestInputOfSource(original), {});
  const checks = [
    await checkFile("source is the one that was converted", original.modelPath, favor.source.sha256),
    await checkFile("model is unchanged", converted.modelPath, favor.model.sha256),
  ];
  progress.stage("Proving the original's attention");
  checks.push(await checkProof(original, favor));
  const evaluation = await withOnnxFile(original, async (path) => {
    progress.stage("Running both models");
    checks.push(...(await probe(original, path, converted, favor, limit, threads)));
    if (request.data === undefined || checks.some((check) => check.name === runs && !check.passed)) return undefined;
    const data = { path: request.data, column: request.column };
    const found = await evaluateAgain(data, original, path, converted, favor, limit, threads, progress);
    checks.push(...checkEvaluation(found, favor.evaluation));
    return found;
  });
  progress.end();
  return { passed: checks.every((check) => check.passed), checks, evaluation };
}

async function checkFile(name: string, path: string, expected: string): Promise<Check> {
  const sha256 = await hashFile(path);
  const passed = sha256 === expected;
  const found = passed ? `sha256 ${sha256}` : `sha256 ${sha256}, favor.json says ${expected}`;
  return { name, passed, found };
}

/** Runs both models on probes. A converted model that does not run is a failed check, not bad input. */
async function probe(
  original: Source,
  path: string,
  converted: Source,
  favor: FavorFile,
  limit: number | undefined,
  threads: number,
): Promise<Check[]> {
  const options = { ...runnerOptions(original.config), threads };
  const before = await ModelRunner.open(path, options);
  const sequences = probeSequences(original.config.vocab_size ?? undefined, limit, before);
  let after: ModelRunner | undefined;
  try {
    after = await ModelRunner.open(converted.modelPath, { ...options, feeding: before.feeding });
    const checks = [checkSignature(before, after), await checkPadding(before, after, sequences)];
    const exact = sequences.filter(({ length }) => length <= exactUpTo(favor));
    if (exact.length > 0) checks.push(await checkSoftmaxEquality(before, after, exact));
    if (after.carriesState && after.fixedLength === undefined) checks.push(await checkPieces(after, sequences));
    return checks;
  } catch (error) {
    if (!(error instanceof InputError) || error.details["path"] !== converted.modelPath) throw error;
    return [{ name: runs, passed: false, found: error.message }];
  } finally {
    await before.close();
    await after?.close();
  }
}

/**
 * Up to how many tokens the converted model computes what the original does: any number with exact features; where all
 * attention has exact keys, as long as all keys are among them. Tuning may have changed other weights.
 */
function exactUpTo({ options, sites, tuning }: FavorFile): number {
  if (options.features === "exact") return Infinity;
  const estimated = sites.filter(({ state }) => state === "linear");
  if (tuning !== undefined || estimated.length === 0) return 0;
  return Math.min(
    ...estimated.map(({ exactKeys, kind }) =>
      exactKeys === undefined || kind === "cross" ? 0 : exactKeys.window * (exactKeys.chosenBlocks + 2),
    ),
  );
}

async function evaluateAgain(
  data: { readonly path: string; readonly column: string | undefined },
  original: Source,
  path: string,
  converted: Source,
  favor: FavorFile,
  limit: number | undefined,
  threads: number,
  progress: Progress,
): Promise<Evaluation> {
  const tokenizer = await loadTokenizer(original.folder);
  checkVocabulary(tokenizer, original.config.vocab_size ?? undefined, original.folder);
  const recorded = favor.evaluation?.data;
  const loaded = await loadSequences(data.path, tokenizer, {
    count: recorded?.sequences ?? 500,
    seed: recorded?.seed ?? favor.options.seed,
    ...lengthOf(recorded, limit),
    column: data.column,
    withLongest: recorded?.longest !== undefined,
  });
  const { pooling } = favor.options;
  const input = { source: original, original: path, tokenizer, threads, pooling, ...loaded };
  const [evaluation] = await compareModels([converted.modelPath], input, progress);
  return evaluation!;
}

/** Sequences as long as in the recorded evaluation, and cut as there. */
function lengthOf(
  recorded: { readonly windowTokens?: number; readonly truncated: number } | undefined,
  limit: number | undefined,
): LongestSequence {
  if (recorded?.windowTokens !== undefined) return { maximumTokens: recorded.windowTokens, longer: "windows" };
  return { maximumTokens: limit, longer: (recorded?.truncated ?? 0) > 0 ? "cut" : "windows" };
}

/** The data of the recorded evaluation must reproduce its outcome; for other data there is nothing to check. */
function checkEvaluation(found: Evaluation, recorded: Evaluation | undefined): Check[] {
  if (recorded === undefined || recorded.kind !== found.kind || recorded.data.sha256 !== found.data.sha256) return [];
  const [{ what, value: now }, { value: then }] = [qualityOf(found), qualityOf(recorded)];
  const passed = Math.abs(now - then) <= evaluationTolerance;
  return [
    {
      name: "recorded quality is reproduced",
      passed,
      found: `${what} ${now.toFixed(4)}, recorded ${then.toFixed(4)}`,
    },
  ];
}
