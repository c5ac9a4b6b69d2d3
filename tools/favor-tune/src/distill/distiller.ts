import { normaliseModel } from "@favor/rewriter";
import type { ModelProto } from "@favor/onnx";
import * as tf from "@tensorflow/tfjs";

import { TrainingError } from "../errors.ts";
import type { AdamWOptions } from "../training/adamw.ts";
import type { NamedTensors, StepResult, TrainingBatch, TrainingStage } from "../training/stage.ts";
import { boundedErrorsByHead, errorsByHead } from "./attention-loss.ts";
import { differingSites } from "./differing-sites.ts";
import { DistillError } from "./errors.ts";
import { FeatureParameters } from "./feature-parameters.ts";
import { Student } from "./student.ts";
import { AttentionTeacher } from "./attention-teacher.ts";
import type { SiteActivations, TeacherOptions } from "./attention-teacher.ts";

/** Token ids, one array per sequence. */
export type TokenRows = readonly (readonly number[])[];

export interface DistillerOptions extends TeacherOptions, Omit<AdamWOptions, "decay"> {
  /** The model that was converted, which is the teacher. Its file must stay open until {@link Distiller.open} is done. */
  readonly original: ModelProto;
  /** The converted model. It is not changed, and its file must stay open while the distiller is used. */
  readonly converted: ModelProto;
  /** Folder for the teacher's file; the caller removes it. */
  readonly scratch: string;
  /** The inputs for a batch; default: its sequences unchanged. A masked language model learns on masked inputs. */
  readonly rowsOf?: (batch: TrainingBatch) => TokenRows;
  /** Largest norm of a site's joint gradient; larger ones are scaled down. Default 50. */
  readonly clip?: number;
  /** Called once, with a warning, if the features of no site took part in a step. */
  readonly note?: (warning: string) => void;
}

/** How far one site's linear attention is from softmax: the mean over heads of {@link errorsByHead}. */
export interface SiteMeasurement {
  /** The value that holds the attention's output, in both models. */
  readonly site: string;
  readonly error: number;
}

/**
 * Distillation of feature maps. Each linear attention learns the output of the original's attention on the original's
 * activations; all weights except those of the feature maps are frozen. Sites are independent, each with its own
 * optimiser, and the backend holds the activations and gradients of only one at a time. The same batches on the same
 * backend give the same numbers, to the bit.
 */
export class Distiller implements TrainingStage {
  readonly #teacher: AttentionTeacher;
  readonly #students: readonly Student[];
  readonly #parameters: readonly FeatureParameters[];
  readonly #rowsOf: (batch: TrainingBatch) => TokenRows;
  readonly #clip: number;
  readonly #note: (warning: string) => void;
  #hasNoted = false;

  private constructor(teacher: AttentionTeacher, students: readonly Student[], options: DistillerOptions) {
    this.#teacher = teacher;
    this.#students = students;
    this.#parameters = students.map((student) => new FeatureParameters(student, options));
    this.#rowsOf = options.rowsOf ?? (({ sequences }) => sequences.map(({ ids }) => ids));
    this.#clip = options.clip ?? 50;
    this.#note = options.note ?? (() => {});
  }

  /**
   * Finds what the conversion changed and loads teacher and students, on the tfjs backend in use (on wasm, call
   * `repairBackend` first).
   *
   * @throws {DistillError} `nothing-to-distil`, and as `teacherModel`; what `AttentionTeacher.open` and `OnnxModel.load` throw.
   */
  static async open(options: DistillerOptions): Promise<Distiller> {
    // The original in the form that the conversion began with: functions inlined, fused operators written out.
    const difference = differingSites(normaliseModel(options.original).model, options.converted);
    if (difference.sites.length === 0) {
      throw new DistillError(
        "No attention of the converted model has both trainable feature maps and an original to learn from. Kernels " +
          "without a projection (elu) and exact attention have no weights, and attention inside If, Loop or Scan is " +
          "not found. Convert with other --features, or give the right original with --teacher.",
        { code: "nothing-to-distil" },
      );
    }
    const teacher = await AttentionTeacher.open(difference, options.scratch, options);
    const students: Student[] = [];
    try {
      for (const site of difference.sites) students.push(await Student.load(site, options.converted));
      return new Distiller(teacher, students, options);
    } catch (error) {
      for (const student of students) student.dispose();
      await teacher.close();
      throw error;
    }
  }

  /** The outputs of the sites, in the order of data flow. */
  get sites(): readonly string[] {
    return this.#students.map(({ site }) => site.output);
  }

  /**
   * One step of every site's Adam on a batch.
   *
   * @returns as loss the mean over sites of the errors before the step (see {@link SiteMeasurement}), bounded by
   * {@link boundedErrorsByHead} for sites whose attention may be negative. A site whose features take no part in the batch,
   * because all keys of its sequences are exact, is left as it is.
   * @throws {TrainingError} `loss-not-finite`; the weights of that site and of later ones were not changed.
   * @throws {DistillError} `attention-of-other-shape`.
   */
  async step(batch: TrainingBatch, learningRate: number): Promise<StepResult> {
    const rows = this.#rowsOf(batch);
    let [sum, trained] = [0, 0];
    for await (const activations of this.#teacher.activations(rows)) {
      const student = this.#students[activations.site]!;
      const { heads, loss, gradients } = await this.#gradients(student, activations, rows);
      const parameters = this.#parameters[activations.site]!;
      const isFinite =
        Number.isFinite(loss) && (gradients.size === 0 || (await parameters.step(gradients, learningRate, this.#clip)));
      if (!isFinite) throw notFinite(student.site.output, batch.step);
      if (gradients.size > 0) trained++;
      sum += loss / heads;
    }
    if (trained === 0 && !this.#hasNoted) {
      this.#hasNoted = true;
      this.#note(nothingTrained(batch.step, Math.max(...rows.map(({ length }) => length))));
    }
    return { loss: sum / this.#students.length, tokens: rows.reduce((count, row) => count + row.length, 0) };
  }

  /** Measures the error of every site on batches, with the current weights. */
  async errors(batches: Iterable<TokenRows> | AsyncIterable<TokenRows>): Promise<SiteMeasurement[]> {
    const sums = this.#students.map(() => 0);
    let tokens = 0;
    for await (const rows of batches) {
      const count = rows.reduce((total, row) => total + row.length, 0);
      for await (const activations of this.#teacher.activations(rows)) {
        const student = this.#students[activations.site]!;
        const errors = tf.tidy(() => tf.mean(this.#errors(student, activations, rows, errorsByHead)));
        sums[activations.site]! += count * (await errors.data())[0]!;
        errors.dispose();
      }
      tokens += count;
    }
    return sums.map((sum, site) => ({ site: this.sites[site]!, error: sum / tokens }));
  }

  /** The weights of all sites, by initializer. */
  async weights(): Promise<NamedTensors> {
    const all = await Promise.all(this.#students.map((student) => student.weights()));
    return new Map(all.flatMap((weights) => [...weights]));
  }

  async state(): Promise<NamedTensors> {
    const state = new Map<string, Float32Array>();
    const add = (prefix: string, tensors: NamedTensors): void => {
      for (const [name, values] of tensors) state.set(`${prefix}/${name}`, values);
    };
    for (const [site, student] of this.#students.entries()) {
      add(`${site}/weights`, await student.weights());
      add(`${site}/optimiser`, await this.#parameters[site]!.state());
    }
    return state;
  }

  async restore(state: NamedTensors): Promise<void> {
    const part = (prefix: string): Map<string, Float32Array> =>
      new Map(
        [...state].flatMap(([name, values]) =>
          name.startsWith(`${prefix}/`) ? [[name.slice(prefix.length + 1), values] as const] : [],
        ),
      );
    for (const [site, student] of this.#students.entries()) {
      student.assign(part(`${site}/weights`));
      this.#parameters[site]!.restore(part(`${site}/optimiser`));
    }
  }

  async dispose(): Promise<void> {
    for (const parameters of this.#parameters) parameters.dispose();
    for (const student of this.#students) student.dispose();
    await this.#teacher.close();
  }

  /** The sum over heads of the errors, and its gradients. */
  async #gradients(
    student: Student,
    activations: SiteActivations,
    rows: TokenRows,
  ): Promise<{ heads: number; loss: number; gradients: ReadonlyMap<string, tf.Tensor> }> {
    let heads = 0;
    // tfjs throws if nothing has a gradient, and this always has.
    const zero = tf.scalar(0);
    const anchor = tf.variable(zero);
    const { value, grads } = tf.variableGrads(() => {
      const errors = this.#errors(student, activations, rows, student.isSigned ? boundedErrorsByHead : errorsByHead);
      heads = errors.size;
      return tf.add(tf.sum(errors), anchor);
    }, [anchor, ...student.variables.values()]);
    const loss = (await value.data())[0]!;
    tf.dispose([value, zero, anchor, grads[anchor.name]!]);
    const byName = [...student.variables].flatMap(([name, { name: own }]) => {
      const gradient = grads[own] as tf.Tensor | undefined | null;
      return gradient ? [[name, gradient] as const] : [];
    });
    return { heads, loss, gradients: new Map(byName) };
  }

  /** [heads] */
  #errors(
    student: Student,
    { operands, target }: SiteActivations,
    rows: TokenRows,
    measure: typeof errorsByHead,
  ): tf.Tensor1D {
    return tf.tidy(() => {
      const { batch, length } = this.#teacher.padded(rows);
      const { estimate, exact } = student.attend(operands, target);
      const [items, , queries] = estimate.shape;
      if (estimate.rank !== 4 || items !== batch || queries !== length) {
        throw new DistillError(
          `The attention "${student.site.output}" has the shape [${estimate.shape.join(", ")}], not [batch, heads, ` +
            `tokens, dim] for ${batch} sequences of ${length} tokens, so it cannot be distilled. Keep that layer as ` +
            `softmax (favor-convert --keep).`,
          { code: "attention-of-other-shape", details: { site: student.site.output, shape: estimate.shape } },
        );
      }
      return measure(estimate, exact, tokenWeights(rows, batch, length));
    });
  }
}

function nothingTrained(step: number, longest: number): string {
  return (
    `Step ${step + 1} of distillation changed nothing: up to ${longest} tokens, as many as its longest sequence has, all keys are ` +
    `exact, so features take no part. Only longer sequences train them. This is said once.`
  );
}

/** [batch, 1, length, 1]: 1 at tokens, 0 at padding and in rows that only fill a fixed batch. */
function tokenWeights(rows: TokenRows, batch: number, length: number): tf.Tensor4D {
  const weights = new Float32Array(batch * length);
  for (const [row, ids] of rows.entries()) weights.fill(1, row * length, row * length + ids.length);
  return tf.tensor4d(weights, [batch, 1, length, 1]);
}

function notFinite(site: string, step: number): TrainingError {
  return new TrainingError(
    `The loss of the attention "${site}" is not finite at step ${step + 1}. Lower --learning-rate, or check the data of ` +
      `that batch.`,
    { code: "loss-not-finite", details: { site, step } },
  );
}
