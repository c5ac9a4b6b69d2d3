import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";

import { hashFile } from "@favor/onnx/node";
import { silent } from "@favor/checkpoints";
import type { Progress } from "@favor/checkpoints";
import { bytesText, companionsIn, prepareOutput, removeOnInterrupt } from "@favor/checkpoints/node";
import { reportFiles } from "@favor/report";
import type { OutputFolderOptions } from "@favor/checkpoints/node";
import type { CurvePoint, FavorFile } from "@favor/report";

import { openBackend } from "./backends/open-backend.ts";
import { CheckpointStore } from "./checkpoint/checkpoint-store.ts";
import type { Checkpoint, RunState } from "./checkpoint/checkpoint-store.ts";
import { TrainingFolder } from "./checkpoint/training-folder.ts";
import { bytesNeeded, diskFault, freeBytes } from "./disk-fault.ts";
import { openTuningData } from "./data/tuning-data.ts";
import { TuneUsageError } from "./errors.ts";
import type { Job } from "./job.ts";
import type { Measured } from "./measure/measurements.ts";
import { openMeasurements } from "./measure/open-measurements.ts";
import { phasesOf } from "./phases.ts";
import { writeTuned } from "./report/write-tuned.ts";
import type { TuneRequest } from "./request.ts";
import { flatSettings, settingsOf, stepsBefore } from "./settings.ts";
import type { Settings } from "./settings.ts";
import { openConverted } from "./source/converted-model.ts";
import type { ConvertedModel } from "./source/converted-model.ts";
import { openOriginal } from "./source/original-model.ts";
import { sourceFault } from "./source/source-fault.ts";
import type { OriginalModel } from "./source/original-model.ts";
import { TrainingLog } from "./training/log.ts";
import { Signals } from "./training/signals.ts";
import { TrainingRun } from "./training/training-run.ts";
import { versions } from "./versions.ts";

export interface TuneResult {
  /** The folder written, absolute. */
  readonly folder: string;
  /** The contents of its `favor.json`. */
  readonly favor: FavorFile;
}

/**
 * Trains a converted checkpoint to recover its accuracy, and writes a folder with the same ONNX graph and better weights.
 * During training, checkpoints and the log are in `<output>.training`; the output appears complete or not at all. The
 * same request on the same backend gives the same weights, even if it was interrupted and resumed.
 *
 * @param request - see {@link TuneRequest}.
 * @param progress - receives progress and warnings; default: none.
 * @throws {TuneUsageError}, {TuneInputError}, {TrainingError}, {StoppedError}; {InputError}, {UsageError} and
 * {OutputError}; the errors of `@favor/onnx` and `@favor/onnx-tfjs`.
 */
export async function tune(request: TuneRequest, progress: Progress = silent): Promise<TuneResult> {
  // Refuse contradictory options before anything is read.
  settingsOf(request);
  const output = resolve(request.output ?? `${request.source.replace(/[/\\]+$/, "")}-tuned`);
  const files = ["onnx/model.onnx", "onnx/model.onnx_data", "log.jsonl", ...reportFiles];
  const outputOptions = {
    force: request.force ?? false,
    sources: [request.source],
    files: [...files, ...(await companionsIn(request.source))],
    interrupted: () => progress.note(`Interrupted, ${output} was not written. ${resumable}`),
  };
  await prepareOutput(output, outputOptions, progress);
  const folder = `${output}.training`;
  let needed: number | undefined;
  let converted: ConvertedModel | undefined;
  let teacher: OriginalModel | undefined;
  let training: TrainingFolder | undefined;
  let stopWatching: (() => void) | undefined;
  try {
    const made = new TrainingFolder(folder, request);
    training = made;
    // Until training handles signals itself.
    stopWatching = removeOnInterrupt(() => {
      if (!made.isResumable) made.remove();
      progress.note(`Interrupted, nothing written.${made.isResumable ? ` ${resumable}` : ""}`);
    });
    progress.stage("Reading the converted model");
    converted = await openConverted(request.source, request.pooling);
    const { favor, measure } = converted;
    const settings = settingsOf(request, { width: widthOf(favor), kind: measure.kind });
    needed = bytesNeeded(converted.favor.model.bytes, settings);
    const free = await freeBytes(folder);
    if (free !== undefined && free < needed) {
      progress.note(
        `The run takes about ${bytesText(needed)} next to ${output}, but only ${bytesText(free)} are free there.`,
      );
    }
    if (request.teacher !== undefined) teacher = await openOriginal(request.teacher, converted.favor, folder);
    progress.stage("Reading the data");
    const data = await openTuningData(request, settings, converted);
    const backend = await openBackend(settings.backend);
    for (const reason of backend.reasons) progress.note(reason);
    const job: Job = { request, settings, converted, teacher, data, backend, folder, progress };
    const result = await trainAndWrite(job, { path: output, ...outputOptions }, () => stopWatching?.());
    training.remove();
    return result;
  } catch (error) {
    const hasCheckpoint = new CheckpointStore(folder).exists;
    // Without a checkpoint there is nothing to resume from.
    if (!hasCheckpoint) {
      try {
        training?.remove();
      } catch {
        // On a read-only disk, removing fails too.
      }
    }
    throw await diskFault(sourceFault(error, hasCheckpoint), { folder, needed, hasCheckpoint });
  } finally {
    stopWatching?.();
    progress.end();
    teacher?.opened.close();
    converted?.close();
  }
}

const resumable = "The last checkpoint is kept: the same command with --resume goes on from it.";

/** Heads times their dimension: the width of the layers between the attentions. */
function widthOf({ sites }: FavorFile): number {
  return Math.max(...sites.map(({ heads, headDim }) => heads * headDim));
}

async function trainAndWrite(
  job: Job,
  output: OutputFolderOptions & { readonly path: string },
  stopWatching: () => void,
): Promise<TuneResult> {
  const { request, settings, converted, data, backend, folder, progress } = job;
  const threads = request.threads ?? availableParallelism();
  const measurements = await openMeasurements(job, threads);
  try {
    const store = new CheckpointStore(folder);
    const checkpoint = await beginning(job, store, {
      curve: [{ step: 0, value: measurements.before.value }],
      controlCurve: controlStart(settings, measurements.original?.value),
    });
    const log = await TrainingLog.open(join(folder, "log.jsonl"), checkpoint.state.logLength);
    stopWatching();
    const signals = new Signals(() => {
      progress.note("Stopping after this step, with a checkpoint. Press Ctrl-C again to stop at once.");
    });
    try {
      const run = new TrainingRun(checkpoint, {
        phases: await phasesOf(job, measurements.rows, threads),
        settings,
        data: data.training,
        tokenizer: converted.tokenizer,
        maximumTokens: data.maximumTokens,
        measurements,
        backend,
        folder,
        store,
        log,
        progress,
        stopping: () => signals.received,
      });
      await run.train();
      progress.stage("Measuring the result");
      const measured = await measurements.finish((target) => run.weights(target));
      for (const warning of worseThan(measured, measurements.curveOf)) progress.note(warning);
      progress.stage("Writing the folder");
      signals.stopListening();
      const favor = await writeTuned(job, run, measurements, measured, output);
      return { folder: output.path, favor };
    } finally {
      signals.stopListening();
      await log.close();
    }
  } finally {
    await measurements.close();
  }
}

/** Warns of a model that training made worse on data by which nothing was chosen. */
function worseThan({ values: { before, after } }: Measured, curveOf: string): string[] {
  if (after >= before) return [];
  const [was, is] = [before, after].map((share) => `${(100 * share).toFixed(2)} %`);
  return [
    `Training made the model worse: its ${curveOf} on the held-out data was ${was} and is ${is}. If it was nearly exact, it needs small ` +
      `steps, and many: lower --learning-rate, raise --steps, or train fewer weights (--train attention or features). If it had lost ` +
      `most, no short training brings that back: convert with exact keys (favor-convert's default).`,
  ];
}

/** The control's curve begins where the MLM fine-tuning of the converted model begins, with the original's accuracy. */
function controlStart(settings: Settings, value: number | undefined): CurvePoint[] {
  if (!settings.control || value === undefined) return [];
  return [{ step: stepsBefore("mlm", settings), value }];
}

/** Where the run begins: at its last checkpoint with `--resume`, otherwise at the start. */
async function beginning(
  job: Job,
  store: CheckpointStore,
  curves: Pick<RunState, "curve" | "controlCurve">,
): Promise<Checkpoint> {
  const { request, converted, teacher, data, settings, backend, folder, progress } = job;
  const evalData = request.evalData === undefined ? "" : await hashFile(request.evalData);
  const fingerprint: Record<string, string> = {
    // The number of parts may change after running out of memory: it only affects rounding.
    ...Object.fromEntries(
      Object.entries(flatSettings({ ...settings, accumulate: undefined })).map(([key, value]) => [key, String(value)]),
    ),
    ...versions,
    backend: backend.name,
    model: converted.favor.model.sha256,
    companions: converted.companions,
    teacher: teacher?.sha256 ?? "",
    data: data.training.sha256,
    column: request.column ?? "",
    "eval-data": evalData,
    pooling: request.pooling ?? "",
  };
  const found = request.resume === true ? await store.read() : undefined;
  if (found === undefined) {
    if (request.resume === true) progress.note(`${folder} has no checkpoint to resume from: this is a new run.`);
    const start = { format: 3, fingerprint, phase: 0, step: 0, position: null, finished: [], seconds: 0 } as const;
    return { state: { ...start, ...curves, best: null, last: null, logLength: 0 }, tensors: new Map() };
  }
  const keys = [...new Set([...Object.keys(fingerprint), ...Object.keys(found.state.fingerprint)])];
  const other = keys.filter((key) => fingerprint[key] !== found.state.fingerprint[key]);
  if (other.length === 0) return found;
  const changes = other.map(
    (key) => `${key} ${found.state.fingerprint[key] ?? "none"}, now ${fingerprint[key] ?? "none"}`,
  );
  throw new TuneUsageError(
    `The checkpoint in ${folder} belongs to another run (${changes.join("; ")}), so resuming would give different results. Give ` +
      `the same options and files, or start over with --force instead of --resume.`,
    { code: "resume-mismatch", details: { folder, changed: other } },
  );
}
