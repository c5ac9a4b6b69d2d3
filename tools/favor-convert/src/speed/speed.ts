import { mkdir, rm } from "node:fs/promises";
import { arch, availableParallelism, cpus, type } from "node:os";
import { join } from "node:path";

import { growModel, longestInputOf } from "@favor/rewriter";
import { writeModel } from "@favor/onnx/node";

import { makeScratchFolder, maximumTokens } from "@favor/checkpoints/node";
import { onnxFileOf, openSourceModel } from "@favor/checkpoints/node";
import { openSource } from "@favor/checkpoints/node";
import type { Source } from "@favor/checkpoints/node";
import { runnerOptions } from "@favor/measure";
import { counted } from "@favor/measure/numbers";
import type { MeasuredSpeed } from "@favor/report";
import { timeInTurns } from "./in-turns.ts";
import type { TimedModel } from "./in-turns.ts";
import { runChild } from "./run-child.ts";
import type { SpeedAnswer } from "./speed-child.ts";

export interface SpeedOptions {
  /** Sequence lengths in tokens. */
  readonly lengths: readonly number[];
  /** Threads of onnxruntime; default: one per core. */
  readonly threads?: number;
  /** Timed runs, after one untimed run; default 5. The result is their median. */
  readonly runs?: number;
}

export interface SpeedMeasurement extends SpeedAnswer {
  readonly length: number;
}

/**
 * Measures time and peak memory of one forward pass (batch 1, random tokens) at several lengths. Each length runs in its
 * own process, so that it does not affect the memory of the others. If a length exceeds the position table, a copy of
 * the model with a longer (tiled) table is measured.
 *
 * @param model - a checkpoint folder or an `.onnx` file.
 * @throws {InputError} `model-fails-to-run`, and what opening the source throws.
 */
export async function measureSpeed(model: string, options: SpeedOptions): Promise<SpeedMeasurement[]> {
  const source = await openSource(model);
  const longest = Math.max(...options.lengths);
  const scratch = makeScratchFolder("speed");
  try {
    const path = await longEnough(source, longest, scratch);
    const measurements: SpeedMeasurement[] = [];
    for (const length of options.lengths) {
      const answer = await runChild({
        model: path,
        length,
        options: runnerOptions(source.config),
        threads: options.threads ?? availableParallelism(),
        runs: options.runs ?? 5,
      });
      measurements.push({ length, ...answer });
    }
    return measurements;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Rounds of a comparison at each length, and passes in each after the first. */
const compared = { rounds: 2, runs: 5 };

/**
 * Measures the original and the converted model at the same lengths, in turns; see {@link timeInTurns}.
 *
 * @param original - the checkpoint that is converted.
 * @param converted - the converted `.onnx` file, in its folder with its configuration.
 * @throws {InputError} `model-fails-to-run`, and what opening the sources throws.
 */
export async function compareSpeed(
  original: Source,
  converted: string,
  { lengths, threads = availableParallelism() }: SpeedOptions,
): Promise<MeasuredSpeed> {
  const longest = Math.max(...lengths);
  const scratch = makeScratchFolder("speed");
  try {
    const models: TimedModel[] = [];
    for (const [name, source] of Object.entries({ original, converted: await openSource(converted) })) {
      const folder = join(scratch, name);
      await mkdir(folder);
      models.push({ path: await longEnough(source, longest, folder), options: runnerOptions(source.config) });
    }
    const measured: MeasuredSpeed["lengths"][number][] = [];
    for (const length of lengths) {
      const [before, after] = await timeInTurns(models, { length, threads, ...compared });
      measured.push({ length, original: before!, converted: after! });
    }
    return { ...machineToday(), threads, lengths: measured };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** This machine, and the day. */
export function machineToday(): Pick<MeasuredSpeed, "machine" | "date"> {
  const [processor] = cpus();
  return {
    machine: `${processor?.model.trim() ?? "unknown processor"}, ${counted(availableParallelism(), "core")}, ${type()} ${arch()}`,
    date: new Date().toISOString().slice(0, 10),
  };
}

/**
 * An ONNX file of the source that takes so many tokens: its own, or `model.onnx` in the scratch folder, with a position
 * table that is grown by tiling if it has to be.
 */
export async function longEnough(source: Source, length: number, scratch: string): Promise<string> {
  const path = join(scratch, "model.onnx");
  const opened = await openSourceModel(source);
  try {
    const maximum = maximumTokens(source.config, longestInputOf(opened.model));
    if (maximum === undefined || maximum >= length) return await onnxFileOf(source, path);
    growModel(opened.model, { maxLength: length });
    await writeModel(opened.model, path);
  } finally {
    opened.close();
  }
  return path;
}
