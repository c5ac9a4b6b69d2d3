import { OnnxModel } from "@favor/onnx-tfjs";
import type { ModelProto } from "@favor/onnx";
import { Graph } from "@favor/onnx/graph";
import * as tf from "@tensorflow/tfjs";

import { TokenFeeds } from "../model/token-feeds.ts";
import type { TokenFeedOptions } from "../model/token-feeds.ts";
import { residualBranches } from "../model/residuals.ts";
import { trainedInitializers } from "../model/trained-part.ts";
import { rowsToChoose } from "../model/vocabulary-product.ts";
import type { TrainedPart } from "../request.ts";
import type { NamedTensors, StepResult, TrainingBatch, TrainingStage } from "../training/stage.ts";
import { StepParts, partsOf } from "../training/step-parts.ts";
import { TrainedWeights, modelState, restoreModel } from "../training/trained-weights.ts";
import { dropoutAt } from "./dropout.ts";
import { accumulate } from "../training/gradients.ts";
import { correctCount, maskedLoss } from "./loss.ts";
import { maskBatch } from "./masked-batch.ts";
import type { MaskedBatch, Masking } from "./masked-batch.ts";
import type { Redraw } from "./redraw.ts";
import type { LogitTeacher } from "./logit-teacher.ts";

export interface MlmOptions {
  /** Name of the logits, `[batch, length, vocabulary]`. */
  readonly logits: string;
  readonly masking: Masking;
  readonly inputs: TokenFeedOptions;
  /** The longest input that the model accepts, in tokens, or undefined. */
  readonly longest: number | undefined;
  /** Largest number of sequences per step; it determines the numbers of the masks. */
  readonly batch: number;
  /** Parts in which a step is computed; undefined: as many as keep its activations within `activationBytes`. */
  readonly accumulate: number | undefined;
  /** Memory for the activations of one part, as tfjs counts it. Default: 1 GiB. */
  readonly activationBytes?: number;
  readonly train: TrainedPart;
  /** Largest global norm of the gradients. */
  readonly clip: number;
  /** Weight decay of matrices and embeddings. */
  readonly decay: number;
  /** Epsilon of AdamW. */
  readonly epsilon: number;
  /** Share of the elements of each residual branch that is dropped. */
  readonly dropout: number;
  /** Weight of the divergence from the teacher; with 0, no teacher runs. */
  readonly kl: number;
  readonly teacher: LogitTeacher | undefined;
  /** Redraws projections every epoch, or undefined. */
  readonly redraw: Redraw | undefined;
}

/** Masked language modelling of an ONNX graph on tfjs (Devlin et al. 2018): the second stage, and the only one of the control. */
export class MlmStage implements TrainingStage {
  readonly #model: OnnxModel;
  readonly #options: MlmOptions;
  readonly #feeds: TokenFeeds;
  readonly #trained: TrainedWeights;
  readonly #parts: StepParts;
  /** Where the masked rows are selected, and the values to which dropout applies. */
  readonly #rows: string;
  readonly #branches: readonly string[];

  private constructor(model: OnnxModel, graph: Graph, trained: TrainedWeights, options: MlmOptions) {
    this.#model = model;
    this.#options = options;
    this.#feeds = new TokenFeeds(model.inputs, options.inputs);
    this.#trained = trained;
    const { accumulate: parts, activationBytes, longest } = options;
    const { fixedLength } = this.#feeds;
    const gradient = async (length: number, segments: number): Promise<void> => this.#trial(length, segments);
    this.#parts = new StepParts({ accumulate: parts, activationBytes, longest, fixedLength, gradient });
    this.#rows = rowsToChoose(options.logits, graph);
    this.#branches = residualBranches(graph).map(({ value }) => value);
  }

  /**
   * Loads a model on the current backend.
   *
   * @param proto - must stay open while the stage is used; it is not changed.
   * @throws {TuneInputError} `nothing-to-train`, `inputs-unknown`; the errors of `@favor/onnx-tfjs`.
   */
  static async open(proto: ModelProto, options: MlmOptions): Promise<MlmStage> {
    const graph = Graph.of(proto);
    const chosen = trainedInitializers(graph, options.train);
    const redrawn = new Set(options.redraw?.initializers);
    const model = await OnnxModel.load(proto, { trainable: (name) => chosen.has(name) || redrawn.has(name) });
    const stepped = new Map([...chosen].filter(([name]) => !redrawn.has(name)));
    return new MlmStage(model, graph, new TrainedWeights(model, stepped, options), options);
  }

  async step({ step, epoch, sequences }: TrainingBatch, learningRate: number): Promise<StepResult> {
    const { batch, masking, redraw } = this.#options;
    redraw?.draw(epoch, (name, values) => this.#model.assign(name, values));
    const { fixedLength } = this.#feeds;
    const { count: divided, segments } = await this.#parts.of(sequences);
    const parts = partsOf(sequences, divided).map(({ part, first }) =>
      maskBatch(part, step * batch + first, masking, fixedLength),
    );
    const count = parts.reduce((sum, { places }) => sum + places.length, 0);
    const tokens = parts.reduce((sum, part) => sum + part.tokens, 0);
    const gradients = new Map<string, tf.Tensor>();
    let [loss, correct] = [0, 0];
    try {
      for (const [i, part] of parts.entries()) {
        if (part.places.length === 0) continue;
        const outcome = await this.#gradients(part, count, step * parts.length + i, segments);
        accumulate(gradients, outcome.gradients);
        loss += outcome.loss;
        correct += outcome.correct;
      }
      // A batch of a few short sequences may have no masked tokens, so there is nothing to learn.
      if (gradients.size === 0) return { loss: 0, accuracy: 0, tokens };
      if (!(await this.#trained.step(gradients, learningRate))) return { loss: Number.NaN, tokens };
      return { loss, accuracy: correct / count, tokens };
    } finally {
      tf.dispose([...gradients.values()]);
    }
  }

  async weights(): Promise<NamedTensors> {
    const weights = new Map(await this.#trained.weights());
    for (const name of this.#options.redraw?.initializers ?? []) {
      weights.set(name, (await this.#model.variables().get(name)!.data()) as Float32Array);
    }
    return weights;
  }

  async state(): Promise<NamedTensors> {
    return modelState(this.#trained, await this.weights());
  }

  async restore(state: NamedTensors): Promise<void> {
    restoreModel(this.#model, this.#trained, state);
  }

  async dispose(): Promise<void> {
    this.#trained.dispose();
    this.#model.dispose();
    await this.#options.teacher?.close();
  }

  /** The gradient on one artificial sequence. */
  async #trial(length: number, segments: number): Promise<void> {
    const [id] = this.#options.masking.replacements;
    const rows = [Array.from({ length }, () => id ?? 0)];
    const part = { rows, length, places: Int32Array.of(1), targets: Int32Array.of(id ?? 0), tokens: length };
    const { gradients } = await this.#gradients(part, 1, 0, segments);
    tf.dispose(Object.values(gradients));
  }

  /** Loss, gradients and correct predictions of one part. Loss and gradients are shares of the whole step's mean. */
  async #gradients(
    part: MaskedBatch,
    count: number,
    seed: number,
    segments: number,
  ): Promise<{ loss: number; correct: number; gradients: Record<string, tf.Tensor> }> {
    const { logits, kl, teacher, dropout, masking } = this.#options;
    const expected = kl > 0 ? await teacher!.logits(part) : undefined;
    const feeds = this.#feeds.of(part.rows, part.length);
    let correct: tf.Scalar | undefined;
    const { value, grads } = tf.tidy(() => {
      const places = tf.tensor1d(part.places, "int32");
      const targets = tf.tensor1d(part.targets, "int32");
      const taught = expected && tf.tensor2d(expected.data, [part.places.length, expected.vocabulary]);
      const intercept = {
        ...dropoutAt(this.#branches, dropout, masking.seed * 1_000_003 + seed),
        [this.#rows]: (rows: tf.Tensor) => tf.gather(tf.reshape(rows, [-1, rows.shape.at(-1)!]), places),
      };
      return tf.variableGrads(() => {
        const scores = this.#model.run(feeds, { outputs: [logits], intercept, segments })[logits]! as tf.Tensor2D;
        correct = tf.keep(correctCount(scores, targets));
        return tf.div(maskedLoss(scores, targets, taught, kl), count);
      }, [...this.#trained.variables]);
    });
    const [[loss], [right]] = await Promise.all([value.data(), correct!.data()]);
    tf.dispose([value, correct!]);
    const gradients = this.#trained.byInitializer(grads);
    return { loss: loss!, correct: right!, gradients };
  }
}
