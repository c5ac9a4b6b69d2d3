import { join } from "node:path";
import { rm } from "node:fs/promises";

import { silent } from "@favor/checkpoints";
import { writeModel } from "@favor/onnx/node";
import { Comparison } from "@favor/measure";
import type { Evaluation } from "@favor/measure";
import { measuresOf, qualityOf } from "@favor/measure/judgement";

import type { Job } from "../job.ts";
import { withWeights } from "../model/with-weights.ts";
import type { Measurements } from "./measurements.ts";

/** Compares a model with its original by its use; see `Comparison`. There must be a teacher. */
export async function openUseMeasurements(job: Job, threads: number): Promise<Measurements> {
  const { converted, teacher, data, request, folder, progress } = job;
  const sequences = data.heldOut;
  const use = data.heldOutUse;
  progress.stage(`Measuring on ${sequences.length} sequences`);
  const { source, tokenizer } = converted;
  const input = { source, original: teacher!.path, tokenizer, sequences, use, threads, pooling: request.pooling };
  const comparison = await Comparison.open(input, silent);
  try {
    const before = await comparison.compare(source.modelPath);
    const { name, value } = curveValue(before);
    return {
      rows: sequences.map(({ ids }) => ids),
      curveOf: name,
      before: value,
      original: undefined,
      async value(path) {
        return curveValue(await comparison.compare(path)).value;
      },
      async finish(weights) {
        const path = join(folder, "measured.onnx");
        await writeModel(withWeights(converted.opened.model, weights("model")), path);
        const after = await comparison.compare(path);
        await rm(path, { force: true });
        return {
          record: { file: use.file, sequences: sequences.length, before, after },
          evaluation: data.isSeparate ? after : undefined,
        };
      },
      async close() {
        await comparison.close();
      },
    };
  } catch (error) {
    await comparison.close();
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
