import { rm } from "node:fs/promises";
import { join } from "node:path";

import { InputError } from "@favor/checkpoints";
import type { ModelProto } from "@favor/onnx";
import { writeModel } from "@favor/onnx/node";
import type { MaskedScores } from "@favor/measure";
import type { TuningRecord } from "@favor/report";

import { TuneInputError } from "../errors.ts";
import type { Job } from "../job.ts";
import { withWeights } from "../model/with-weights.ts";
import { withoutSoftmax } from "../model/without-softmax.ts";
import type { TrainingRun } from "../training/training-run.ts";
import type { HeldOut } from "./held-out.ts";

/** Scores of every model of a run on the held-out tokens. */
export interface Measured {
  readonly original: MaskedScores | undefined;
  readonly after: MaskedScores;
  /** For `favor.json`. */
  readonly record: TuningRecord["measured"];
}

/** The models measured before training, and how to measure the others afterwards. */
export interface Measurements {
  readonly before: MaskedScores;
  readonly original: MaskedScores | undefined;
  finish(run: TrainingRun): Promise<Measured>;
}

/**
 * Measures the converted model and the original, all on the same masked tokens.
 *
 * @throws {InputError} `model-fails-to-run`; {TuneInputError} `teacher-not-finite`.
 */
export async function openMeasurements(job: Job, heldOut: HeldOut): Promise<Measurements> {
  const { converted, teacher, settings, data } = job;
  const before = await heldOut.scores(converted.source.modelPath);
  const original =
    teacher &&
    (await heldOut.scores(teacher.path).catch((error: unknown) => {
      const isNotFinite = error instanceof InputError && error.details["found"] === "not finite";
      throw isNotFinite ? notFinite(job.request.teacher!) : error;
    }));
  if (original?.loss.some(Number.isNaN) === true) throw notFinite(job.request.teacher!);
  const softmax = converted.favor.sites.filter(({ state }) => state === "unchanged");
  const isHybrid = softmax.length > 0 && softmax.length < converted.favor.sites.length;
  const score = (model: ModelProto): Promise<MaskedScores> => scoreModel(model, job, heldOut);
  const ablated = (model: ModelProto): Promise<MaskedScores> =>
    score(withoutSoftmax(model, new Set(softmax.map(({ name }) => name))));
  const { model } = converted.opened;
  const beforeAblated = isHybrid ? await ablated(model) : undefined;
  return {
    before,
    original,
    async finish(run) {
      const tuned = withWeights(model, run.weights("model"));
      const after = await score(tuned);
      const control =
        settings.control && teacher !== undefined
          ? await score(withWeights(teacher.opened.model, run.weights("control")))
          : undefined;
      const record: TuningRecord["measured"] = {
        file: data.heldOutFile,
        sequences: heldOut.sequences.length,
        maskedTokens: heldOut.maskedTokens,
        ...(original !== undefined && { original: heldOut.quality(original) }),
        before: heldOut.quality(before),
        after: heldOut.quality(after),
        ...(control !== undefined && { control: heldOut.quality(control) }),
        ...(beforeAblated !== undefined && {
          ablated: {
            layers: softmax.map(({ layer }) => layer),
            before: heldOut.quality(beforeAblated),
            after: heldOut.quality(await ablated(tuned)),
          },
        }),
      };
      return { original, after, record };
    },
  };
}

function notFinite(teacher: string): TuneInputError {
  return new TuneInputError(
    `--teacher ${teacher}: the original gives logits that are not finite on the sequences to measure on. Its weights are ` +
      `damaged, or overflow in their precision: get the checkpoint again, and convert that.`,
    { code: "teacher-not-finite", details: { teacher } },
  );
}

async function scoreModel(model: ModelProto, { folder }: Job, heldOut: HeldOut): Promise<MaskedScores> {
  const path = join(folder, "measured.onnx");
  await writeModel(model, path);
  try {
    return await heldOut.scores(path);
  } finally {
    await rm(path, { force: true });
  }
}
