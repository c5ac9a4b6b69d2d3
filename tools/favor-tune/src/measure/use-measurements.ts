import { join } from "node:path";
import { rm } from "node:fs/promises";

import { silent } from "@favor/checkpoints";
import { writeModel } from "@favor/onnx/node";
import { Comparison } from "@favor/measure";
import type { Evaluation } from "@favor/measure";
import type { TokenSequence } from "@favor/measure/tokens";
import { measuresOf, qualityOf } from "@favor/measure/judgement";

import type { Job } from "../job.ts";
import { withWeights } from "../model/with-weights.ts";
import type { Measurement, Measurements } from "./measurements.ts";

/** Compares a model with its original by its use; see `Comparison`. There must be a teacher. */
export async function openUseMeasurements(job: Job, threads: number): Promise<Measurements> {
  const { converted, teacher, data, request, folder, progress } = job;
  const { heldOut, validation, heldOutUse: use } = data;
  progress.stage(`Measuring on ${heldOut.length} sequences`);
  const { source, tokenizer } = converted;
  const { pooling } = request;
  const compared = async (sequences: readonly TokenSequence[]): Promise<Comparison> =>
    Comparison.open({ source, original: teacher!.path, tokenizer, sequences, use, threads, pooling }, silent);
  const measured = await compared(heldOut);
  const chosenBy = await compared(validation).catch(async (error: unknown) => {
    await measured.close();
    throw error;
  });
  const close = async (): Promise<void> => {
    await measured.close();
    await chosenBy.close();
  };
  const validate = async (path: string): Promise<Measurement> => {
    const { value } = curveValue(await chosenBy.compare(path));
    return { value, score: value };
  };
  try {
    const before = await measured.compare(source.modelPath);
    const { name, value } = curveValue(before);
    return {
      rows: heldOut.map(({ ids }) => ids),
      curveOf: name,
      before: await validate(source.modelPath),
      original: undefined,
      validate,
      async finish(weights) {
        const path = join(folder, "measured.onnx");
        await writeModel(withWeights(converted.opened.model, weights("model")), path);
        const after = await measured.compare(path);
        await rm(path, { force: true });
        return {
          record: { file: use.file, sequences: heldOut.length, before, after },
          evaluation: data.isSeparate ? after : undefined,
          values: { before: value, after: curveValue(after).value },
        };
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The number of an evaluation that a curve shows: more is better. */
function curveValue(evaluation: Evaluation): { readonly name: string; readonly value: number } {
  if (evaluation.kind === "next-token") {
    const { what, value } = qualityOf(evaluation);
    return { name: what, value };
  }
  const [{ measure, value }] = measuresOf(evaluation) as [ReturnType<typeof measuresOf>[number]];
  return { name: measure, value };
}
