import { existsSync } from "node:fs";
import { readFile, rename } from "node:fs/promises";
import { join } from "node:path";

import { z } from "zod";

import { bytesText } from "@favor/checkpoints/node";
import { curveSchema, stageSchema } from "@favor/report";
import type { CurvePoint, TuningStage } from "@favor/report";

import type { DataPosition } from "../data/training-data.ts";
import { TrainingError, TuneInputError } from "../errors.ts";
import type { Measurement } from "../measure/measurements.ts";
import type { NamedTensors } from "../training/stage.ts";
import { diskWriter, parseTensors, writeTensors } from "./tensors-file.ts";
import type { FileWriter } from "./tensors-file.ts";

/** The state of a run, without tensors. */
export interface RunState {
  readonly format: 3;
  /** What must be the same when the run is resumed: settings, files, backend. */
  readonly fingerprint: Readonly<Record<string, string>>;
  /** The current phase, from 0. */
  readonly phase: number;
  /** Steps done in the phase. */
  readonly step: number;
  /** Position of the next batch; null at the beginning of a phase. */
  readonly position: DataPosition | null;
  readonly curve: readonly CurvePoint[];
  readonly controlCurve: readonly CurvePoint[];
  /** Finished phases. */
  readonly finished: readonly TuningStage[];
  /** Seconds of the current phase. */
  readonly seconds: number;
  /** The best evaluation of the current phase, and the number of evaluations since; null before the first of a model. */
  readonly best: (Measurement & { readonly step: number; readonly since: number }) | null;
  /** The last evaluation of the current phase. */
  readonly last: Measurement | null;
  /** Length of the log in bytes. On resuming, anything written after it is dropped. */
  readonly logLength: number;
}

const count = z.int().nonnegative();
const measurement = { value: z.number(), score: z.number() };
const runStateSchema: z.ZodType<RunState> = z.object({
  format: z.literal(3),
  fingerprint: z.record(z.string(), z.string()),
  phase: count,
  step: count,
  position: z.object({ epoch: count, pass: count, record: count, batch: count }).nullable(),
  curve: curveSchema,
  controlCurve: curveSchema,
  finished: z.array(stageSchema),
  seconds: z.number(),
  best: z.object({ ...measurement, step: count, since: count }).nullable(),
  last: z.object(measurement).nullable(),
  logLength: count,
});

/** A snapshot of a run: its state, and `model/`, `control/`, `stage/` and `best/` tensors. */
export interface Checkpoint {
  readonly state: RunState;
  readonly tensors: NamedTensors;
}

const names = {
  next: "checkpoint.next.safetensors",
  current: "checkpoint.safetensors",
  previous: "checkpoint.previous.safetensors",
};

/** Newest first: a process that died between two renames left the newest under its temporary name. */
const candidates = [names.next, names.current, names.previous];

/**
 * The last two checkpoints of a run. Each is written under a temporary name, flushed and renamed, so that a process that
 * dies at any time leaves at least one complete checkpoint.
 */
export class CheckpointStore {
  readonly #folder: string;
  readonly #writer: FileWriter;

  constructor(folder: string, writer: FileWriter = diskWriter) {
    this.#folder = folder;
    this.#writer = writer;
  }

  /**
   * Writes the newest checkpoint.
   *
   * @throws {TrainingError} `checkpoint-unwritable`; the previous checkpoint is kept.
   */
  async write({ state, tensors }: Checkpoint): Promise<void> {
    const next = join(this.#folder, names.next);
    const current = join(this.#folder, names.current);
    try {
      await writeTensors(next, { tensors, text: JSON.stringify(state) }, this.#writer);
      if (existsSync(current)) await rename(current, join(this.#folder, names.previous));
      await rename(next, current);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const bytes = [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
      throw new TrainingError(
        `The checkpoint of step ${state.step} cannot be written to ${this.#folder} (${reason}). Free some space there (it ` +
          `takes ${bytesText(bytes)}) and run the same command with --resume to continue from the previous checkpoint, if there is one.`,
        { code: "checkpoint-unwritable", cause: error, details: { folder: this.#folder, step: state.step } },
      );
    }
  }

  /** Whether there is any checkpoint, complete or not. */
  get exists(): boolean {
    return candidates.some((name) => existsSync(join(this.#folder, name)));
  }

  /**
   * Reads the newest complete checkpoint; undefined if none was ever written.
   *
   * @throws {TuneInputError} `checkpoint-malformed` if there are files, but none is complete.
   */
  async read(): Promise<Checkpoint | undefined> {
    const found: string[] = [];
    for (const name of candidates) {
      const bytes = await readFile(join(this.#folder, name)).catch(() => undefined);
      if (bytes === undefined) continue;
      found.push(name);
      const file = parseTensors(bytes);
      const state = file && runStateSchema.safeParse(JSON.parse(file.text));
      if (file !== undefined && state?.success === true) return { state: state.data, tensors: file.tensors };
    }
    if (found.length === 0) return undefined;
    throw new TuneInputError(
      `${this.#folder} contains no intact checkpoint (damaged: ${found.join(", ")}). Start over: run with --force ` +
        `instead of --resume.`,
      { code: "checkpoint-malformed", details: { folder: this.#folder, found } },
    );
  }
}
