import { rm } from "node:fs/promises";
import { join } from "node:path";

import { InputError } from "@favor/checkpoints";
import type { ModelProto } from "@favor/onnx";
import { writeModel } from "@favor/onnx/node";
import { compareMasked } from "@favor/measure";
import type { Evaluation, MaskedScores } from "@favor/measure";
import type { TokenSequence } from "@favor/measure/tokens";
import type { TunedPredictions } from "@favor/report";

import { TuneInputError } from "../errors.ts";
import type { Job } from "../job.ts";
import { withWeights } from "../model/with-weights.ts";
import { withoutSoftmax } from "../model/without-softmax.ts";
import { MaskedHeldOut } from "./masked-held-out.ts";
import type { Measurement, Measurements } from "./measurements.ts";

/** Measures every model of a run on the same masked tokens. */
export async function openMaskedMeasurements(job: Job, logits: string, threads: number): Promise<Measurements> {
  const { converted, teacher, settings, data, progress } = job;
  const { tokenizer, feeding } = converted;
  const masked = (sequences: readonly TokenSequence[]): MaskedHeldOut =>
    new MaskedHeldOut(sequences, { tokenizer, logits, feeding, seed: settings.seed, threads });
  const [heldOut, validation] = [masked(data.heldOut), masked(data.validation)];
  progress.stage(`Measuring on ${heldOut.maskedTokens} masked tokens of ${heldOut.sequences.length} sequences`);
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
  const validated = async (path: string): Promise<Measurement> => {
    const scores = await validation.scores(path);
    return { value: validation.accuracy(scores), score: -validation.loss(scores) };
  };
  return {
    rows: heldOut.sequences.map(({ ids }) => ids),
    curveOf: "masked accuracy",
    before: await validated(converted.source.modelPath),
    original: teacher && (await validated(teacher.path)),
    validate: validated,
    async close() {
      // Every model was closed after it was measured.
    },
    async finish(weights) {
      const tuned = withWeights(model, weights("model"));
      const after = await score(tuned);
      const control =
        settings.control && teacher !== undefined
          ? await score(withWeights(teacher.opened.model, weights("control")))
          : undefined;
      const record: TunedPredictions = {
        file: data.heldOutUse.file,
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
      const values = { before: heldOut.accuracy(before), after: heldOut.accuracy(after) };
      return { record, evaluation: evaluationOf(job, heldOut, original, after), values };
    },
  };
}

function evaluationOf(
  { data, settings }: Job,
  heldOut: MaskedHeldOut,
  original: MaskedScores | undefined,
  after: MaskedScores,
): Evaluation | undefined {
  if (!data.isSeparate || original === undefined) return undefined;
  const comparison = compareMasked(heldOut.sequences, original, after, settings.seed);
  return { kind: "masked-language", data: data.heldOutUse, ...comparison };
}

function notFinite(teacher: string): TuneInputError {
  return new TuneInputError(
    `--teacher ${teacher}: the original gives logits that are not finite on the sequences to measure on. Its weights are ` +
      `damaged, or overflow in their precision: get the checkpoint again, and convert that.`,
    { code: "teacher-not-finite", details: { teacher } },
  );
}

async function scoreModel(model: ModelProto, { folder }: Job, heldOut: MaskedHeldOut): Promise<MaskedScores> {
  const path = join(folder, "measured.onnx");
  await writeModel(model, path);
  try {
    return await heldOut.scores(path);
  } finally {
    await rm(path, { force: true });
  }
}
