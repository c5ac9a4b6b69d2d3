import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";

import type { ModelProto } from "@favor/onnx";
import { writeModel } from "@favor/onnx/node";
import { firstPosition } from "@favor/checkpoints/node";
import { ordinaryIds, runnerOptions } from "@favor/measure";
import type { DistilledSite } from "@favor/report";

import { Distiller } from "./distill/distiller.ts";
import type { SiteMeasurement } from "./distill/distiller.ts";
import type { Job } from "./job.ts";
import type { HeldOut } from "./measure/held-out.ts";
import { maskBatch } from "./mlm/masked-batch.ts";
import type { Masking } from "./mlm/masked-batch.ts";
import { MlmStage } from "./mlm/mlm-stage.ts";
import { Redraw } from "./mlm/redraw.ts";
import { LogitTeacher } from "./mlm/logit-teacher.ts";
import type { Phase } from "./training/phase.ts";

/** The phases of a run, in order: the requested stages, then the control. */
export async function phasesOf(job: Job, heldOut: HeldOut, threads: number): Promise<readonly Phase[]> {
  const { settings, converted, teacher } = job;
  const { stages, distill, mlm, control } = settings;
  const { model } = converted.opened;
  const offset = stages.includes("distill") ? distill.steps : 0;
  const phases: Phase[] = [];
  if (stages.includes("distill")) {
    const base = { name: "distill", settings: distill, target: "model", base: model } as const;
    phases.push({
      ...base,
      firstEpoch: 0,
      offset: 0,
      open: (now) => openDistiller(job, now, threads),
      compare: (tuned) => distilledSites(job, tuned, heldOut, threads),
    });
  }
  if (stages.includes("mlm")) {
    const base = { name: "mlm", settings: mlm, target: "model", base: model } as const;
    phases.push({ ...base, firstEpoch: mlmEpoch, offset, open: (now) => openMlm(job, now, threads) });
  }
  if (control && teacher !== undefined) {
    const base = { name: "control", settings: mlm, target: "control", base: teacher.opened.model } as const;
    phases.push({ ...base, firstEpoch: mlmEpoch, offset, open: (now) => openMlm(job, now, threads) });
  }
  return phases;
}

/** MLM fine-tuning begins with a different order of the data than distillation. */
const mlmEpoch = 1;

function maskingOf({ settings, converted }: Job): Masking {
  const { tokenizer } = converted;
  return {
    maskId: tokenizer.maskId!,
    specialIds: tokenizer.specialIds,
    replacements: ordinaryIds(tokenizer),
    seed: settings.seed,
  };
}

/** Feature maps learn on masked inputs, like those of measurements and fine-tuning. */
async function openDistiller(job: Job, model: ModelProto, threads: number): Promise<Distiller> {
  const { settings, converted, teacher, folder } = job;
  // Each time a new folder: the file of an open teacher must not be overwritten.
  const scratch = await mkdtemp(join(folder, "distill-"));
  const masking = maskingOf(job);
  return Distiller.open({
    original: teacher!.opened.model,
    converted: model,
    scratch,
    threads,
    padId: converted.tokenizer.padId,
    feeding: converted.feeding,
    rowsOf: ({ step, sequences }) => maskBatch(sequences, step * settings.batch, masking, undefined).rows,
  });
}

/** Held-out sequences on which attention is compared. */
const comparedSequences = 32;

/** Measures every attention's error before and after distillation, on the masked held-out sequences. */
async function distilledSites(
  job: Job,
  tuned: ModelProto,
  heldOut: HeldOut,
  threads: number,
): Promise<readonly DistilledSite[]> {
  const { settings, converted } = job;
  const rows = heldOut.sequences.slice(0, comparedSequences).map(({ ids }) => ids);
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
  return LogitTeacher.open(path, converted.logits, {
    ...runnerOptions(converted.source.config, converted.tokenizer),
    feeding: converted.feeding,
    threads,
  });
}

async function openMlm(job: Job, model: ModelProto, threads: number): Promise<MlmStage> {
  const { settings, converted } = job;
  const { padId } = converted.tokenizer;
  const { batch, accumulate, train, clip, decay, epsilon, dropout, kl } = settings;
  return MlmStage.open(model, {
    logits: converted.logits,
    masking: maskingOf(job),
    inputs: { padId, firstPosition: firstPosition(converted.source.config), feeding: converted.feeding },
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
