import type { Job } from "../job.ts";
import { openMaskedMeasurements } from "./masked-measurements.ts";
import type { Measurements } from "./measurements.ts";
import { openUseMeasurements } from "./use-measurements.ts";

/**
 * Measures the converted model and the original by what the model is used for: masked tokens, embeddings, decisions,
 * next tokens, or outputs.
 *
 * @throws {InputError} `model-fails-to-run`; {TuneInputError} `data-too-small`, `teacher-not-finite`.
 */
export async function openMeasurements(job: Job, threads: number): Promise<Measurements> {
  const { measure } = job.converted;
  return measure.kind === "masked-language"
    ? openMaskedMeasurements(job, measure.output, threads)
    : openUseMeasurements(job, threads);
}
