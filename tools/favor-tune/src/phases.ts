import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";

import type { ModelProto } from "@favor/onnx";
import { writeModel } from "@favor/onnx/node";
import { firstPosition } from "@favor/checkpoints/node";
import { ordinaryIds, runnerOptions } from "@favor/measure";
import type { DistilledSite } from "@favor/report";

import { AlignStage } from "./align/align-stage.ts";
import { AlignmentTeacher } from "./align/alignment-teacher.ts";
import { Distiller } from "./distill/distiller.ts";
import type { SiteMeasurement } from "./distill/distiller.ts";
import type { Job } from "./job.ts";
import { maskBatch } from "./mlm/masked-batch.ts";
import type { Masking } from "./mlm/masked-batch.ts";
import { MlmStage } from "./mlm/mlm-stage.ts";
import { Redraw } from "./mlm/redraw.ts";
import { LogitTeacher } from "./mlm/logit-teacher.ts";
import type { TokenFeedOptions } from "./model/token-feeds.ts";
import type { Stage } from "./request.ts";
import { stepsBefore } from "./settings.ts";
import type { Phase } from "./training/phase.ts";
import type { TrainingBatch } from "./training/stage.ts";

/**
 * The phases of a run, in order: the requested stages, then the control.
 *
 * @param heldOut - inputs on which the attention of both models is compared.
 */
export async function phasesOf(
  job: Job,
  heldOut: readonly (readonly number[])[],
  threads: number,
): Promise<readonly Phase[]> {
  const { settings, converted, teacher } = job;
  const { stages, control } = settings;
  const { model } = converted.opened;
  const of: Record<Stage, Pick<Phase, "firstEpoch" | "open" | "compare">> = {
    distill: {
      firstEpoch: 0,
      open: (now) => openDistiller(job, now, threads),
      compare: (tuned) => distilledSites(job, tuned, heldOut, threads),
    },
    align: { firstEpoch: alignEpoch, open: (now) => openAligner(job, now, threads) },
    mlm: { firstEpoch: mlmEpoch, open: (now) => openMlm(job, now, threads) },
  };
  const phases: Phase[] = stages.map((name) => ({
    ...of[name],
    name,
    settings: settings[name],
    target: "model",
    base: model,
    offset: stepsBefore(name, settings),
  }));
  if (control && teacher !== undefined) {
    const base = { name: "control", settings: settings.mlm, target: "control", base: teacher.opened.model } as const;
    phases.push({ ...of.mlm, ...base, offset: stepsBefore("mlm", settings) });
  }
  return phases;
}

/** Each stage begins with another order of the data; the control has that of MLM fine-tuning. */
const mlmEpoch = 1;
const alignEpoch = 2;

function maskingOf({ settings, converted }: Job): Masking {
  const { tokenizer } = converted;
  return {
    maskId: tokenizer.maskId!,
    specialIds: tokenizer.specialIds,
    replacements: ordinaryIds(tokenizer),
    seed: settings.seed,
  };
}

/** The inputs of a batch: masked like those of measurements and fine-tuning, if the model predicts masked tokens. */
function rowsOf(job: Job): (batch: TrainingBatch) => readonly (readonly number[])[] {
  if (job.converted.measure.kind !== "masked-language") return ({ sequences }) => sequences.map(({ ids }) => ids);
  const masking = maskingOf(job);
  return ({ step, sequences }) => maskBatch(sequences, step * job.settings.batch, masking, undefined).rows;
}

async function openDistiller(job: Job, model: ModelProto, threads: number): Promise<Distiller> {
  const { converted, teacher, folder } = job;
  // Each time a new folder: the file of an open teacher must not be overwritten.
  const scratch = await mkdtemp(join(folder, "distill-"));
  return Distiller.open({
    original: teacher!.opened.model,
    converted: model,
    scratch,
    threads,
    padId: converted.tokenizer.padId,
    feeding: converted.feeding,
    rowsOf: rowsOf(job),
    note: (warning) => job.progress.note(warning),
  });
}

/** Held-out sequences on which attention is compared. */
const comparedSequences = 32;

/** Measures every attention's error before and after distillation, on held-out inputs. */
async function distilledSites(
  job: Job,
  tuned: ModelProto,
  heldOut: readonly (readonly number[])[],
  threads: number,
): Promise<readonly DistilledSite[]> {
  const { settings, converted } = job;
  const rows = heldOut.slice(0, comparedSequences);
  const batches = Array.from({ length: Math.ceil(rows.length / settings.batch) }, (_, i) =>
    rows.slice(i * settings.batch, (i + 1) * settings.batch),
  );
  const errorsOf = async (model: ModelProto): Promise<readonly SiteMeasurement[]> => {
    const distiller = await openDistiller(job, model, threads);
    try {
      return await distiller.errors(batches);
    } finally {
      await distiller.dispose();
    }
  };
  const [before, after] = [await errorsOf(converted.opened.model), await errorsOf(tuned)];
  const layers = converted.favor.sites.filter(({ state }) => state === "linear").map(({ layer }) => layer);
  return before.map(({ site, error }, i) => ({
    site,
    ...(layers.length === before.length && { layer: layers[i]! }),
    before: error,
    after: after[i]!.error,
  }));
}

/** Uses the graph that was checked at the beginning, because its file may have been replaced since. */
async function openLogitTeacher({ converted, teacher, folder }: Job, threads: number): Promise<LogitTeacher> {
  const path = join(await mkdtemp(join(folder, "teacher-")), "teacher.onnx");
  await writeModel(teacher!.opened.model, path);
  return LogitTeacher.open(path, converted.measure.output, {
    ...runnerOptions(converted.source.config, converted.tokenizer),
    feeding: converted.feeding,
    threads,
  });
}

async function openMlm(job: Job, model: ModelProto, threads: number): Promise<MlmStage> {
  const { settings, converted } = job;
  const { batch, accumulate, train, clip, decay, epsilon, dropout, kl } = settings;
  return MlmStage.open(model, {
    logits: converted.measure.output,
    masking: maskingOf(job),
    inputs: inputsOf(job),
    longest: converted.maximumTokens,
    batch,
    accumulate,
    train,
    clip,
    decay,
    epsilon,
    dropout,
    kl,
    teacher: kl > 0 ? await openLogitTeacher(job, threads) : undefined,
    redraw: settings.redraw ? new Redraw(model, settings.seed) : undefined,
  });
}

function inputsOf({ converted }: Job): TokenFeedOptions {
  const { tokenizer, source, feeding } = converted;
  return { padId: tokenizer.padId, firstPosition: firstPosition(source.config), feeding };
}

/** The share of alignment's steps in which each layer learns alone. */
const layerShare = 0.5;

async function openAligner(job: Job, model: ModelProto, threads: number): Promise<AlignStage> {
  const { settings, converted, teacher, folder } = job;
  const { source, tokenizer, measure, feeding } = converted;
  const ordinaryId = ordinaryIds(tokenizer)[0] ?? 0;
  const aligned = await AlignmentTeacher.open({
    ...runnerOptions(source.config, tokenizer),
    original: teacher!.opened.model,
    converted: model,
    measure,
    scratch: await mkdtemp(join(folder, "align-")),
    feeding,
    threads,
    ordinaryId,
  });
  const { accumulate, train, clip, epsilon, align } = settings;
  const pools = measure.kind === "embedding" && measure.pooling !== undefined;
  try {
    return await AlignStage.open(model, {
      teacher: aligned,
      inputs: inputsOf(job),
      pooling: pools ? { output: measure.output, modes: measure.pooling.modes } : undefined,
      rowsOf: rowsOf(job),
      layerSteps: Math.floor(layerShare * align.steps),
      longest: converted.maximumTokens,
      accumulate,
      train,
      clip,
      epsilon,
      ordinaryId,
    });
  } catch (error) {
    await aligned.close();
    throw error;
  }
}
