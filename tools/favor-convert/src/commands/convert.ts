import { availableParallelism } from "node:os";
import { basename, join } from "node:path";

import type { HeadMoments } from "@favor/core";
import { convertAttention, inspectAttention, tapMoments } from "@favor/onnx";
import type { ConvertOptions, ConvertedSite } from "@favor/onnx";
import { hashFile, writeModel } from "@favor/onnx/node";
import type { OpenedModel } from "@favor/onnx/node";

import { UsageError } from "../errors.ts";
import { copyCompanions } from "../folder/checkpoint-files.ts";
import { OutputFolder, checkOutput } from "../folder/output-folder.ts";
import { silent } from "../progress/progress.ts";
import type { Progress } from "../progress/progress.ts";
import type { Evaluation, FavorFile } from "../report/favor-file.ts";
import { checkConfiguration } from "../source/check-configuration.ts";
import { maximumTokens } from "../source/config.ts";
import { checkWeights } from "../source/finite-weights.ts";
import { openSourceModel } from "../source/open-source-model.ts";
import { openSource } from "../source/source.ts";
import type { Source } from "../source/source.ts";
import { checkVocabulary, loadSequences } from "../tokens/load-sequences.ts";
import type { LoadedSequences } from "../tokens/load-sequences.ts";
import { loadTokenizer } from "../tokens/tokenizer.ts";
import type { SequenceTokenizer } from "../tokens/tokenizer.ts";
import { versions } from "../versions.ts";

/** What to convert and how; the command line's options, one for one. */
export interface ConvertRequest {
  /** A checkpoint folder or an `.onnx` file. */
  readonly source: string;
  /** The folder to write; it must not exist unless `force`. Not needed for a dry run. */
  readonly output?: string;
  /** Default "positive". */
  readonly features?: "positive" | "trigonometric" | "exact";
  /** Random features a head, M; default 256. */
  readonly count?: number;
  /** Default "orthogonal". */
  readonly projection?: "orthogonal" | "iid";
  /** Of the projections, the draws from data files and the masks; default 0. */
  readonly seed?: number;
  /** Layers that stay softmax, counted from 0. */
  readonly keep?: readonly number[];
  /** Grow the position table to this many tokens. */
  readonly maxLength?: number;
  /** How: by repeating it (default) or by stretching it. */
  readonly growth?: "tile" | "interpolate";
  /** Data file to calibrate positive features on. */
  readonly calibrate?: string;
  /** Sequences to calibrate on; default 200. */
  readonly calibrateCount?: number;
  /** Data file to compare both models on. */
  readonly evaluate?: string;
  /** Sequences to compare on; default 500. */
  readonly evaluateCount?: number;
  /** Cut sequences that are too long instead of refusing them. */
  readonly truncate?: boolean;
  /** Threads of onnxruntime; default: every core. */
  readonly threads?: number;
  /** Replace an output folder that an earlier run wrote. */
  readonly force?: boolean;
  /** Rewrite in memory and report the sites; measure and write nothing. */
  readonly dryRun?: boolean;
}

export interface ConvertResult {
  /** The folder written, absolute; undefined for a dry run. */
  readonly folder: string | undefined;
  readonly sites: readonly ConvertedSite[];
  readonly notes: readonly string[];
  /** What `favor.json` says; undefined for a dry run. */
  readonly favor: FavorFile | undefined;
}

type Settings = Required<Pick<ConvertOptions, "features" | "count" | "projection" | "seed">> &
  Pick<ConvertOptions, "maxLength" | "growth"> & { readonly keep: number[] };

/**
 * Converts a checkpoint to linear attention: reads it, calibrates, rewrites, measures, and writes a folder with the
 * model, its configuration and tokenizer, `favor.json`, `report.html` and a model card. The folder appears whole or
 * not at all. The same request gives the same bytes.
 *
 * @param request - see {@link ConvertRequest}.
 * @param progress - told of every stage; default: nobody.
 * @throws {UsageError} for options that contradict each other or the output folder's state; {InputError} for malformed
 * input; the errors of `@favor/onnx` for a model that cannot be read or where nothing may be converted;
 * {OutputError} when the disk refuses.
 */
export async function convert(request: ConvertRequest, progress: Progress = silent): Promise<ConvertResult> {
  const settings = settingsOf(request);
  const source = await openSource(request.source);
  if (request.dryRun !== true && request.output === undefined) {
    throw new UsageError("Name the folder to write: -o <dir> (or --dry-run to write nothing).", {
      code: "bad-arguments",
    });
  }
  const outputOptions = { force: request.force ?? false, sources: [source.folder, source.modelPath] };
  if (request.output !== undefined) await checkOutput(request.output, outputOptions);
  progress.stage("Reading the model");
  const opened = await openSourceModel(source);
  try {
    const { model } = opened;
    checkWeights(model, source.modelPath);
    const inspected = inspectAttention(model);
    checkKept(settings.keep, new Set(inspected.sites.map((site) => site.layer)));
    const notes = [...inspected.notes, ...checkConfiguration(source.config, inspected.sites)];
    if (request.dryRun === true) {
      const { sites } = convertAttention(model, settings);
      return { folder: undefined, sites, notes, favor: undefined };
    }
    const data = await openData(request, source, settings.seed);
    const output = await OutputFolder.begin(request.output!, outputOptions);
    try {
      const job = { request, settings, source, opened, data, output, progress };
      const { sites, favor } = await writeConverted(job, notes);
      await output.commit();
      return { folder: output.path, sites, notes, favor };
    } catch (error) {
      await output.discard();
      throw error;
    }
  } finally {
    progress.end();
    opened.close();
  }
}

/** Everything between an empty folder and a whole one. */
async function writeConverted(
  job: Job,
  notes: string[],
): Promise<{ sites: readonly ConvertedSite[]; favor: FavorFile }> {
  const { settings, source, opened, data, output, progress } = job;
  const moments = data.calibration === undefined ? undefined : await calibrateOn(data.calibration, job);
  progress.stage("Rewriting the attention");
  const converted = convertAttention(opened.model, { ...settings, ...(moments === undefined ? {} : { moments }) });
  const file = "onnx/model.onnx";
  const modelPath = await output.pathFor(file);
  const written = await output.fill(() => writeModel(converted.model, modelPath));
  const evaluation = await evaluateOn(modelPath, job);
  const favor: FavorFile = {
    format: 1,
    versions: { ...versions },
    source: {
      name: basename(source.folder),
      model: source.modelName,
      sha256: await opened.sha256(),
      bytes: opened.length,
    },
    model: { file, sha256: await hashFile(modelPath), bytes: written.model.length },
    options: settings,
    sites: converted.sites.map(siteRecord),
    notes,
    ...(data.calibration === undefined ? {} : { calibration: data.calibration.use }),
    ...(evaluation === undefined ? {} : { evaluation }),
  };
  progress.stage("Writing the folder");
  await writeAround(favor, job);
  return { sites: converted.sites, favor };
}

interface Data {
  readonly tokenizer: SequenceTokenizer | undefined;
  readonly calibration: LoadedSequences | undefined;
  readonly evaluation: LoadedSequences | undefined;
}

interface Job {
  readonly request: ConvertRequest;
  readonly settings: Settings;
  readonly source: Source;
  readonly opened: OpenedModel;
  readonly data: Data;
  readonly output: OutputFolder;
  readonly progress: Progress;
}

function settingsOf(request: ConvertRequest): Settings {
  const { features = "positive", count = 256, projection = "orthogonal", seed = 0, keep = [] } = request;
  if (request.calibrate !== undefined && features !== "positive") {
    throw new UsageError(
      `--calibrate shapes positive features; ${features} attention has nothing to calibrate. Leave one of the two out.`,
      { code: "bad-arguments" },
    );
  }
  if (request.growth !== undefined && request.maxLength === undefined) {
    throw new UsageError("--growth says how --max-length grows the position table: pass both.", {
      code: "bad-arguments",
    });
  }
  return {
    features,
    count,
    projection,
    seed,
    keep: [...new Set(keep)].toSorted((a, b) => a - b),
    ...(request.maxLength === undefined ? {} : { maxLength: request.maxLength, growth: request.growth ?? "tile" }),
  };
}

function checkKept(keep: readonly number[], layers: ReadonlySet<number>): void {
  const unknown = keep.filter((layer) => !layers.has(layer));
  if (unknown.length === 0 || layers.size === 0) return;
  throw new UsageError(
    `--keep names layer ${unknown.join(", ")}, but the model's attention is in layers ` +
      `${Math.min(...layers)} to ${Math.max(...layers)}, counted from 0.`,
    { code: "bad-arguments", details: { unknown } },
  );
}

/** Reads and tokenises the data files first: their faults should show before minutes of work. */
async function openData(request: ConvertRequest, source: Source, seed: number): Promise<Data> {
  if (request.calibrate === undefined && request.evaluate === undefined) {
    return { tokenizer: undefined, calibration: undefined, evaluation: undefined };
  }
  const tokenizer = await loadTokenizer(source.folder);
  checkVocabulary(tokenizer, source.config.vocab_size ?? undefined, source.folder);
  const load = async (path: string | undefined, count: number): Promise<LoadedSequences | undefined> =>
    path === undefined
      ? undefined
      : loadSequences(path, tokenizer, {
          count,
          seed,
          maximumTokens: maximumTokens(source.config),
          truncate: request.truncate ?? false,
        });
  return {
    tokenizer,
    calibration: await load(request.calibrate, request.calibrateCount ?? 200),
    evaluation: await load(request.evaluate, request.evaluateCount ?? 500),
  };
}

async function calibrateOn(
  { sequences }: LoadedSequences,
  { request, opened, data, output, progress }: Job,
): Promise<(HeadMoments[] | undefined)[]> {
  const { gatherMoments } = await import("../calibrate/moments.ts");
  const tapped = tapMoments(opened.model);
  const scratch = await output.scratch();
  const path = join(scratch.path, "tapped.onnx");
  await output.fill(() => writeModel(tapped.model, path));
  progress.stage("Calibrating", sequences.length);
  const options = { threads: request.threads ?? availableParallelism(), padId: data.tokenizer?.padId ?? 0 };
  const moments = await gatherMoments(path, tapped.taps, sequences, options, (done) => progress.advance(done));
  await scratch.remove();
  return moments;
}

async function evaluateOn(
  modelPath: string,
  { request, source, data, progress }: Job,
): Promise<Evaluation | undefined> {
  const { tokenizer, evaluation } = data;
  if (tokenizer === undefined || evaluation === undefined) return undefined;
  const { compareModels } = await import("../measure/evaluation.ts");
  const threads = request.threads ?? availableParallelism();
  const [result] = await compareModels([modelPath], { source, tokenizer, threads, ...evaluation }, progress);
  return result;
}

async function writeAround(favor: FavorFile, { source, output, settings }: Job): Promise<void> {
  const [{ reportPage }, { modelCard }] = await Promise.all([
    import("../report/report.ts"),
    import("../report/model-card.ts"),
  ]);
  await copyCompanions(source, output, settings.maxLength);
  await output.write("favor.json", `${JSON.stringify(favor, undefined, 2)}\n`);
  await output.write("report.html", reportPage(favor));
  await output.write("README.md", modelCard(favor));
}

function siteRecord(site: ConvertedSite): FavorFile["sites"][number] {
  const { layer, name, kind, heads, keyValueHeads, headDim, scale, mask, causal, state, reasons } = site;
  return {
    site: site.site,
    layer,
    name,
    kind,
    heads,
    keyValueHeads,
    headDim,
    scale,
    mask: { ...mask },
    causal,
    state,
    reasons: reasons.map(({ code, message }) => ({ code, message })),
    ...featureMapRecord(site),
  };
}

/** The heads of a site differ in the head number of their projection, and calibrated ones in what the model now holds. */
function featureMapRecord({ featureMaps, folded }: ConvertedSite): Pick<FavorFile["sites"][number], "featureMap"> {
  const [first] = featureMaps ?? [];
  if (first === undefined || !("projection" in first)) return {};
  const { kind, projection } = first;
  const { count, seed, layer = 0 } = projection;
  return { featureMap: { kind, projection: { kind: projection.kind, count, seed, layer }, ...(folded && { folded }) } };
}
