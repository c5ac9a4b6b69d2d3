import { existsSync } from "node:fs";
import { readFile, rename } from "node:fs/promises";
import { join } from "node:path";

import { z } from "zod";

import { bytesText } from "@favor/checkpoints/node";
import { curveSchema, stageSchema } from "@favor/report";
import type { CurvePoint, TuningStage } from "@favor/report";

import type { DataPosition } from "../data/training-data.ts";
import { TrainingError, TuneInputError } from "../errors.ts";
import type { NamedTensors } from "../training/stage.ts";
import { diskWriter, parseTensors, writeTensors } from "./tensors-file.ts";
import type { FileWriter } from "./tensors-file.ts";

/** Where a run stands, tensors aside. */
export interface RunState {
  readonly format: 1;
  /** What must be the same in a process that goes on: settings, files, backend. */
  readonly fingerprint: Readonly<Record<string, string>>;
  /** Which of the run's phases, from 0. */
  readonly phase: number;
  /** Steps done of it. */
  readonly step: number;
  /** Of its next batch; null at the beginning of a phase. */
  readonly position: DataPosition | null;
  readonly curve: readonly CurvePoint[];
  readonly controlCurve: readonly CurvePoint[];
  /** Phases done. */
  readonly finished: readonly TuningStage[];
  /** Seconds of the phase at hand. */
  readonly seconds: number;
  /** Of the phase at hand: its best evaluation, and how many evaluations were made since. */
  readonly best: { readonly step: number; readonly accuracy: number; readonly since: number } | null;
  /** Bytes of the log at this moment; what a process that died wrote after it is dropped. */
  readonly logLength: number;
}

const count = z.int().nonnegative();
const runStateSchema: z.ZodType<RunState> = z.object({
  format: z.literal(1),
  fingerprint: z.record(z.string(), z.string()),
  phase: count,
  step: count,
  position: z.object({ epoch: count, pass: count, batch: count }).nullable(),
  curve: curveSchema,
  controlCurve: curveSchema,
  finished: z.array(stageSchema),
  seconds: z.number(),
  best: z.object({ step: count, accuracy: z.number(), since: count }).nullable(),
  logLength: count,
});

/** A run at one moment: `model/`, `control/`, `stage/` and `best/` tensors beside the state. */
export interface Checkpoint {
  readonly state: RunState;
  readonly tensors: NamedTensors;
}

const names = {
  next: "checkpoint.next.safetensors",
  current: "checkpoint.safetensors",
  previous: "checkpoint.previous.safetensors",
};

/** Newest first: a process that died between two renames left the newest under its first name. */
const candidates = [names.next, names.current, names.previous];

/**
 * The checkpoints of a run: the last one and the one before it. Each is written under a temporary name, flushed, and
 * renamed, so that a process that dies at any moment leaves at least one that is whole.
 */
export class CheckpointStore {
  readonly #folder: string;
  readonly #writer: FileWriter;

  constructor(folder: string, writer: FileWriter = diskWriter) {
    this.#folder = folder;
    this.#writer = writer;
  }

  /**
   * Makes this the newest checkpoint.
   *
   * @throws {TrainingError} `checkpoint-unwritable`; the checkpoint before it is still there.
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
          `takes ${bytesText(bytes)}) and run the same command with --resume: it goes on from the checkpoint before, if there is one.`,
        { code: "checkpoint-unwritable", cause: error, details: { folder: this.#folder, step: state.step } },
      );
    }
  }

  /** Whether there is any checkpoint, whole or not. */
  get exists(): boolean {
    return candidates.some((name) => existsSync(join(this.#folder, name)));
  }

  /**
   * The newest checkpoint that is whole, or undefined if none was ever finished.
   *
   * @throws {TuneInputError} `checkpoint-malformed` where there are files and none is whole.
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
      `${this.#folder} holds no checkpoint that is whole (${found.join(", ")} are damaged). Begin anew: run without ` +
        `--resume and with --force.`,
      { code: "checkpoint-malformed", details: { folder: this.#folder, found } },
    );
  }
}
