import { join } from "node:path";

import { ArgumentError } from "@favor/core";
import { writeModel } from "@favor/onnx/node";
import type { Feed } from "@favor/onnx-tfjs";
import { ModelRunner } from "@favor/measure";
import type { Feeding, RunnerOptions } from "@favor/measure";
import type { Tensor } from "onnxruntime-node";

import { feedOf, floatsOf } from "../model/runtime-values.ts";
import type { Difference, DifferingSite } from "./differing-sites.ts";
import { teacherModel } from "./teacher-model.ts";
import type { TeacherModel } from "./teacher-model.ts";

export interface TeacherOptions extends RunnerOptions {
  /** Approximate bytes of activations to hold at a time; if there are more, the teacher runs again for the rest. */
  readonly heldBytes?: number;
}

/** The inputs of one site's student and its target. */
export interface SiteActivations {
  /** The site's number in `Difference.sites`. */
  readonly site: number;
  /** Values of the site's operands. */
  readonly operands: Readonly<Record<string, Feed>>;
  /** The teacher's attention output. */
  readonly target: { readonly dims: readonly number[]; readonly data: Float32Array };
}

/** The original model in onnxruntime. Close it with {@link AttentionTeacher.close}. */
export class AttentionTeacher {
  readonly #runner: ModelRunner;
  readonly #model: TeacherModel;
  readonly #sites: readonly DifferingSite[];
  readonly #heldBytes: number;

  private constructor(runner: ModelRunner, model: TeacherModel, sites: readonly DifferingSite[], heldBytes: number) {
    this.#runner = runner;
    this.#model = model;
    this.#sites = sites;
    this.#heldBytes = heldBytes;
  }

  /**
   * Writes the teacher into `scratch` (a folder) and loads it. Both models of the difference must still be open.
   *
   * @throws {DistillError} as `teacherModel`; {InputError} as `ModelRunner.open`; what `writeModel`
   * throws.
   */
  static async open(difference: Difference, scratch: string, options: TeacherOptions = {}): Promise<AttentionTeacher> {
    const teacher = teacherModel(difference);
    const path = join(scratch, "teacher.onnx");
    await writeModel(teacher.model, path);
    const feeding = options.feeding ?? (await feedingOf(difference, scratch, options));
    const runner = await ModelRunner.open(path, { ...options, feeding });
    return new AttentionTeacher(runner, teacher, difference.sites, options.heldBytes ?? 512 * 1024 * 1024);
  }

  /**
   * Computes every site's activations on a batch, in the order of the sites.
   *
   * @param rows - token ids; shorter rows are padded on the right and masked.
   * @throws {ArgumentError} for rows of several lengths if the model takes no mask; {InputError}
   * `model-fails-to-run`.
   */
  async *activations(rows: readonly (readonly number[])[]): AsyncGenerator<SiteActivations> {
    const lengths = rows.map((row) => row.length);
    if (!this.#runner.takesMask && lengths.some((length) => length !== lengths[0])) {
      throw new ArgumentError("rows", "sequences of one length, because the model takes no mask", lengths);
    }
    const { operands, targets } = this.#model;
    const tokens = rows.length * Math.max(...lengths);
    for (let start = 0; start < targets.length;) {
      let end = start;
      for (let bytes = 0; end < targets.length; end++) {
        bytes += tokens * bytesPerToken(this.#sites[end]!);
        if (end > start && bytes > this.#heldBytes) break;
      }
      const wanted = operands.slice(start, end).flatMap((values) => [...values.values()]);
      const names = [...new Set([...wanted, ...targets.slice(start, end)])];
      const values: Record<string, Tensor> = await this.#runner.runAll(rows, names);
      for (let site = start; site < end; site++) {
        const entries = [...operands[site]!].map(([operand, output]) => [operand, feedOf(values[output]!)] as const);
        const target = values[targets[site]!]!;
        yield {
          site,
          operands: Object.fromEntries(entries),
          target: { dims: target.dims, data: floatsOf(target) },
        };
      }
      start = end;
    }
  }

  /** The number of rows and the length that a batch is padded to. */
  padded(rows: readonly (readonly number[])[]): { readonly batch: number; readonly length: number } {
    const { fixedBatch, fixedLength } = this.#runner;
    return {
      batch: fixedBatch ?? rows.length,
      length: fixedLength ?? Math.max(...rows.map((row) => row.length)),
    };
  }

  async close(): Promise<void> {
    await this.#runner.close();
  }
}

/** How the original is fed: the teacher's own outputs, queries and keys, do not show it. */
async function feedingOf({ original }: Difference, scratch: string, options: TeacherOptions): Promise<Feeding> {
  const path = join(scratch, "original.onnx");
  await writeModel(original.model, path);
  const runner = await ModelRunner.open(path, options);
  await runner.close();
  return runner.feeding;
}

/** An upper bound: most operands are as large as the queries, some are smaller. */
function bytesPerToken({ trainable, operands }: DifferingSite): number {
  const widths = trainable.map(({ dims }) => dims[0]!.toNumber() * dims[1]!.toNumber());
  return 4 * Math.max(...widths) * (operands.length + 1);
}
