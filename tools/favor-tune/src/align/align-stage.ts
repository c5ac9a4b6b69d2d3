import { OnnxModel } from "@favor/onnx-tfjs";
import type { ModelProto } from "@favor/onnx";
import { Graph } from "@favor/onnx/graph";
import * as tf from "@tensorflow/tfjs";

import { TokenFeeds } from "../model/token-feeds.ts";
import type { TokenFeedOptions } from "../model/token-feeds.ts";
import { trainedInitializers } from "../model/trained-part.ts";
import type { TrainedPart } from "../request.ts";
import { accumulate } from "../training/gradients.ts";
import { StepParts, partsOf } from "../training/step-parts.ts";
import type { NamedTensors, StepResult, TrainingBatch, TrainingStage } from "../training/stage.ts";
import { TrainedWeights, modelState, restoreModel } from "../training/trained-weights.ts";
import { alignmentLoss } from "./alignment-loss.ts";
import type { PooledOutput } from "./alignment-loss.ts";
import type { AlignedValues, AlignmentTeacher } from "./alignment-teacher.ts";
import { endToEnd, layerByLayer } from "./alignment-span.ts";
import type { AlignmentSpan } from "./alignment-span.ts";

export interface AlignOptions {
  readonly teacher: AlignmentTeacher;
  readonly inputs: TokenFeedOptions;
  /** Embeddings that are to be the original's, too. */
  readonly pooling: PooledOutput | undefined;
  /** The token ids of a batch: its sequences, masked if the model predicts masked tokens. */
  readonly rowsOf: (batch: TrainingBatch) => readonly (readonly number[])[];
  /** Steps in which each layer learns alone; after them, all layers learn together. */
  readonly layerSteps: number;
  /** The longest input that the model accepts, in tokens, or undefined. */
  readonly longest: number | undefined;
  /** Parts in which a step is computed; undefined: as many as fit into memory. */
  readonly accumulate: number | undefined;
  readonly train: TrainedPart;
  /** Largest global norm of the gradients. */
  readonly clip: number;
  /** Epsilon of AdamW. There is no weight decay: the weights to stay near are the original's, not zero. */
  readonly epsilon: number;
  /** A token id for the input on which memory is measured. */
  readonly ordinaryId: number;
}

/**
 * Alignment: the converted model learns the original's hidden states, outputs and pooled embeddings ({@link alignmentLoss}),
 * without labels. At first each layer learns alone, from the original's hidden state before it (as FitNets do, Romero et
 * al. 2014): no layer has to make up for the errors of earlier ones. Then all learn together, from the tokens.
 */
export class AlignStage implements TrainingStage {
  readonly #model: OnnxModel;
  readonly #options: AlignOptions;
  readonly #feeds: TokenFeeds;
  readonly #trained: TrainedWeights;
  readonly #parts: StepParts;
  readonly #layers: readonly AlignmentSpan[];
  readonly #whole: AlignmentSpan;

  private constructor(model: OnnxModel, graph: Graph, chosen: ReadonlyMap<string, boolean>, options: AlignOptions) {
    const { inputs, teacher, accumulate: parts, longest } = options;
    this.#model = model;
    this.#options = options;
    this.#feeds = new TokenFeeds(model.inputs, inputs);
    this.#trained = new TrainedWeights(model, chosen, { ...options, decay: 0 });
    this.#layers = layerByLayer(teacher.states, graph, new Set(chosen.keys()));
    this.#whole = endToEnd(teacher.states, teacher.outputs);
    const { fixedLength } = this.#feeds;
    const gradient = async (length: number, segments: number): Promise<void> => this.#trial(length, segments);
    this.#parts = new StepParts({ accumulate: parts, longest, fixedLength, gradient });
  }

  /**
   * Loads a model on the current backend.
   *
   * @param proto - must stay open while the stage is used; it is not changed.
   * @throws {TuneInputError} `nothing-to-train`, `inputs-unknown`; the errors of `@favor/onnx-tfjs`.
   */
  static async open(proto: ModelProto, options: AlignOptions): Promise<AlignStage> {
    const graph = Graph.of(proto);
    const chosen = trainedInitializers(graph, options.train);
    const model = await OnnxModel.load(proto, { trainable: (name) => chosen.has(name) });
    return new AlignStage(model, graph, chosen, options);
  }

  async step(batch: TrainingBatch, learningRate: number): Promise<StepResult> {
    const rows = this.#options.rowsOf(batch);
    const tokens = tokensOf(rows);
    const { count, segments } = await this.#parts.of(batch.sequences);
    const isByLayer = batch.step < this.#options.layerSteps && this.#layers.length > 0;
    const gradients = new Map<string, tf.Tensor>();
    let loss = 0;
    try {
      for (const { part } of partsOf(rows, count)) {
        const values = await this.#options.teacher.values(part, this.#lengthOf(part));
        for (const span of isByLayer ? this.#layers : [this.#whole]) {
          const found = await this.#gradients(span, part, values, tokensOf(part) / tokens, segments);
          accumulate(gradients, found.gradients);
          loss += found.loss;
        }
      }
      return { loss: (await this.#trained.step(gradients, learningRate)) ? loss : Number.NaN, tokens };
    } finally {
      tf.dispose([...gradients.values()]);
    }
  }

  async weights(): Promise<NamedTensors> {
    return this.#trained.weights();
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
    await this.#options.teacher.close();
  }

  #lengthOf(rows: readonly (readonly number[])[]): number {
    return this.#feeds.fixedLength ?? Math.max(...rows.map((row) => row.length));
  }

  /** The gradient of all layers on one artificial sequence. */
  async #trial(length: number, segments: number): Promise<void> {
    const rows = [Array.from({ length }, () => this.#options.ordinaryId)];
    const values = await this.#options.teacher.values(rows, length);
    const { gradients } = await this.#gradients(this.#whole, rows, values, 1, segments);
    tf.dispose(Object.values(gradients));
  }

  /** The loss of a span and its gradients, both times `share`, the part's of the step. */
  async #gradients(
    span: AlignmentSpan,
    rows: readonly (readonly number[])[],
    values: AlignedValues,
    share: number,
    segments: number,
  ): Promise<{ loss: number; gradients: Record<string, tf.Tensor> }> {
    const { given, states, outputs, weight } = span;
    const padded = this.#lengthOf(rows);
    const lengths = { tokens: rows.map((row) => row.length), padded };
    const feeds = { ...this.#feeds.of(rows, padded), ...(given !== undefined && { [given]: values.get(given)! }) };
    const names = [...states, ...outputs].map(({ name }) => name);
    const { value, grads } = tf.tidy(() =>
      tf.variableGrads(() => {
        const found = this.#model.run(feeds, { outputs: names, segments });
        const loss = alignmentLoss(span, found, values, lengths, this.#options.pooling);
        return tf.mul(loss, share * weight) as tf.Scalar;
      }, [...this.#trained.variables]),
    );
    const loss = (await value.data())[0]!;
    value.dispose();
    return { loss, gradients: this.#trained.byInitializer(grads) };
  }
}

function tokensOf(rows: readonly (readonly number[])[]): number {
  return rows.reduce((sum, row) => sum + row.length, 0);
}
