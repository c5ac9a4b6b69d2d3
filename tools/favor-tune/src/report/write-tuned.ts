import { join } from "node:path";

import { hashFile, writeModel } from "@favor/onnx/node";
import { OutputFolder, copyCompanions } from "@favor/checkpoints/node";
import type { OutputFolderOptions } from "@favor/checkpoints/node";
import { writeReport } from "@favor/report/pages";
import type { FavorFile, TuningRecord } from "@favor/report";

import type { Job } from "../job.ts";
import type { Measured, Measurements } from "../measure/measurements.ts";
import { withWeights } from "../model/with-weights.ts";
import { flatSettings } from "../settings.ts";
import { companionsSha256 } from "../source/companions.ts";
import { sourceChanged } from "../source/source-fault.ts";
import type { TrainingRun } from "../training/training-run.ts";
import { versions } from "../versions.ts";
import { tuningSection } from "./tuning-section.ts";

/**
 * Writes the tuned folder: the converted graph with new weights and otherwise the same bytes, its companion files,
 * `favor.json`, `report.html`, `README.md` and the log. The folder appears complete or not at all.
 *
 * @throws {OutputError} `output-unwritable`; {TrainingError} `source-changed`.
 */
export async function writeTuned(
  job: Job,
  run: TrainingRun,
  measurements: Pick<Measurements, "curveOf" | "original">,
  { record, evaluation }: Measured,
  options: OutputFolderOptions & { readonly path: string },
): Promise<FavorFile> {
  const { converted, folder } = job;
  const output = await OutputFolder.begin(options.path, options);
  try {
    const notCopied = await copyCompanions(converted.source, output);
    if ((await companionsSha256(output.partial)) !== converted.companions) {
      throw sourceChanged(`The configuration, tokenizer or licence in ${converted.source.folder}`);
    }
    const modelPath = await output.pathFor(converted.source.modelName);
    const weighted = withWeights(converted.opened.model, run.weights("model"));
    const written = await output.fill(() => writeModel(weighted, modelPath));
    // Doubts about data, quality and errors of the conversion say nothing of what tuning made of it.
    const { evaluation: _, warnings: __, sites, ...rest } = converted.favor;
    const favor: FavorFile = {
      ...rest,
      options: { ...rest.options, ...(job.request.pooling && { pooling: job.request.pooling }) },
      sites: sites.map(({ error: ___, ...site }) => site),
      notes: [...rest.notes, ...notCopied],
      model: { file: converted.source.modelName, sha256: await hashFile(modelPath), bytes: written.model.length },
      ...(evaluation !== undefined && { evaluation }),
      tuning: recordOf(job, run, measurements, record),
    };
    await output.copy(join(folder, "log.jsonl"), "log.jsonl");
    const listed = await writeReport(output, favor, [tuningSection(favor.tuning!)]);
    await output.commit();
    return listed;
  } catch (error) {
    await output.discard();
    throw error;
  }
}

function recordOf(
  { settings, converted, backend, data }: Job,
  run: TrainingRun,
  { curveOf, original }: Pick<Measurements, "curveOf" | "original">,
  measured: Measured["record"],
): TuningRecord {
  const { finished, curve, controlCurve } = run.state;
  const { file, sha256, records, excluded, validation } = data.training;
  return {
    versions: { ...versions },
    settings: flatSettings(settings),
    from: converted.favor.model.sha256,
    backend: backend.description,
    data: { file, sha256, records, heldOut: excluded, validation: validation.length },
    stages: finished,
    curveOf,
    curve,
    ...(controlCurve.length > 0 && { controlCurve }),
    ...(original !== undefined && { originalValue: original.value }),
    measured,
  };
}
