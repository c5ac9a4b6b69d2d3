import { OnnxModel } from "@favor/onnx-tfjs";
import type { ModelProto } from "@favor/onnx";
import { Graph } from "@favor/onnx/graph";
import * as tf from "@tensorflow/tfjs";
import type { TokenSequence } from "@favor/measure/tokens";

import { isPositive } from "../model/feature-initializers.ts";
import { TokenFeeds } from "../model/token-feeds.ts";
import type { TokenFeedOptions } from "../model/token-feeds.ts";
import { residualBranches } from "../model/residuals.ts";
import { trainedInitializers } from "../model/trained-part.ts";
import { rowsToChoose } from "../model/vocabulary-product.ts";
import type { TrainedPart } from "../request.ts";
import type { NamedTensors, StepResult, TrainingBatch, TrainingStage } from "../training/stage.ts";
import { AdamW } from "../training/adamw.ts";
import type { TrainedVariable } from "../training/adamw.ts";
import { dropoutAt } from "./dropout.ts";
import { accumulate, clippingScale, globalNorm } from "../training/gradients.ts";
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

/** Lower bound for cores and feature weights, which must not become zero. It has no noticeable effect. */
const leastPositive = 1e-12;

/**
 * Approximate memory for the activations of one part. wasm has 2 GiB in all, also for weights and moments. tfjs counts
 * shared memory twice, and so about 2.5 times too much.
 */
const usualActivationBytes = 2 ** 30;
/** Segments to divide a run into if not even one sequence's activations fit: about a quarter of a layer each. */
const manySegments = 32;
/** Length of the sequences on which activations are measured, in tokens; less if the model requires it. */
const measuredTokens = 128;

/** Masked language modelling of an ONNX graph on tfjs (Devlin et al. 2018): the second stage, and the only one of the control. */
export class MlmStage implements TrainingStage {
  readonly #model: OnnxModel;
  readonly #options: MlmOptions;
  readonly #feeds: TokenFeeds;
  readonly #trained: ReadonlyMap<string, TrainedVariable>;
  readonly #optimiser: AdamW;
  /** Where the masked rows are selected, and the values to which dropout applies. */
  readonly #rows: string;
  readonly #branches: readonly string[];
  /** Bytes of one sequence's activations by its length, for each number of segments. */
  readonly #activations = new Map<number, (length: number) => number>();

  private constructor(
    model: OnnxModel,
    graph: Graph,
    trained: ReadonlyMap<string, TrainedVariable>,
    options: MlmOptions,
  ) {
    this.#model = model;
    this.#options = options;
    this.#feeds = new TokenFeeds(model.inputs, options.inputs);
    this.#trained = trained;
    this.#optimiser = new AdamW(trained, { decay: options.decay, epsilon: options.epsilon });
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
    const trained = new Map<string, TrainedVariable>();
    const seen = new Set<tf.Variable>();
    for (const [name, variable] of model.variables()) {
      // Tied initializers share a variable, which must be stepped only once.
      if (redrawn.has(name) || !chosen.has(name) || seen.has(variable)) continue;
      seen.add(variable);
      const positive = isPositive(name) ? { least: leastPositive } : {};
      trained.set(name, { variable, decays: chosen.get(name)!, ...positive });
    }
    return new MlmStage(model, graph, trained, options);
  }

  async step({ step, epoch, sequences }: TrainingBatch, learningRate: number): Promise<StepResult> {
    const { batch, masking, redraw } = this.#options;
    redraw?.draw(epoch, (name, values) => this.#model.assign(name, values));
    const { fixedLength } = this.#feeds;
    const { count: divided, segments } = await this.#partsFor(sequences);
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
      this.#takeLogarithms(gradients);
      const norm = await globalNorm(gradients.values());
      if (!Number.isFinite(norm)) return { loss: Number.NaN, tokens };
      this.#optimiser.step(gradients, learningRate, clippingScale(norm, this.#options.clip));
      return { loss, accuracy: correct / count, tokens };
    } finally {
      tf.dispose([...gradients.values()]);
    }
  }

  /** Turns the gradients of what must stay positive into those of its logarithm: dL/d(log x) = x dL/dx. */
  #takeLogarithms(gradients: Map<string, tf.Tensor>): void {
    for (const [name, { variable, least }] of this.#trained) {
      const gradient = gradients.get(name);
      if (gradient === undefined || least === undefined) continue;
      gradients.set(name, tf.mul(gradient, variable));
      gradient.dispose();
    }
  }

  async weights(): Promise<NamedTensors> {
    const weights = new Map<string, Float32Array>();
    const { redraw } = this.#options;
    for (const name of [...this.#trained.keys(), ...(redraw?.initializers ?? [])]) {
      weights.set(name, (await this.#model.variables().get(name)!.data()) as Float32Array);
    }
    return weights;
  }

  async state(): Promise<NamedTensors> {
    const optimiser = await this.#optimiser.state();
    const weights = await this.weights();
    return new Map([
      ...[...optimiser].map(([name, values]) => [`optimiser/${name}`, values] as const),
      ...[...weights].map(([name, values]) => [`weight/${name}`, values] as const),
    ]);
  }

  async restore(state: NamedTensors): Promise<void> {
    const under = (prefix: string): Map<string, Float32Array> =>
      new Map(
        [...state].flatMap(([name, values]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), values]] : [])),
      );
    this.#optimiser.restore(under("optimiser/"));
    for (const [name, values] of under("weight/")) this.#model.assign(name, values);
  }

  async dispose(): Promise<void> {
    this.#optimiser.dispose();
    this.#model.dispose();
    await this.#options.teacher?.close();
  }

  /** How to divide a batch. It depends only on its size, so that a resumed run divides it in the same way. */
  async #partsFor(sequences: readonly TokenSequence[]): Promise<{ readonly count: number; readonly segments: number }> {
    const { accumulate: given, activationBytes = usualActivationBytes } = this.#options;
    const length = this.#feeds.fixedLength ?? Math.max(...sequences.map(({ ids }) => ids.length));
    // With a requested number of parts, sequences up to the measured length are assumed to fit.
    if (given !== undefined && length <= measuredTokens) return { count: given, segments: 1 };
    const segments = (await this.#activationsOf(length, 1)) > activationBytes ? manySegments : 1;
    if (given !== undefined) return { count: given, segments };
    const bytes = sequences.length * (await this.#activationsOf(length, segments));
    return { count: Math.max(1, Math.ceil(bytes / activationBytes)), segments };
  }

  /**
   * The peak memory for the gradient of one sequence, without the part that is independent of its length. It is measured at
   * three short lengths and extrapolated by a linear and a quadratic term, which softmax attention has.
   */
  async #activationsOf(length: number, segments: number): Promise<number> {
    let known = this.#activations.get(segments);
    if (known === undefined) {
      const { fixedLength } = this.#feeds;
      if (fixedLength !== undefined) {
        const bytes = await this.#measure(fixedLength, segments);
        known = () => bytes;
      } else {
        const longest = Math.min(measuredTokens, this.#options.longest ?? measuredTokens);
        const lengths = [4, 2, 1].map((part) => Math.max(1, Math.floor(longest / part)));
        const bytes: number[] = [];
        for (const tokens of lengths) bytes.push(await this.#measure(tokens, segments));
        const slope = (i: number): number => (bytes[i + 1]! - bytes[i]!) / (lengths[i + 1]! - lengths[i]!);
        const square = Math.max(0, (slope(1) - slope(0)) / (lengths[2]! - lengths[0]!));
        const linear = slope(1) - square * (lengths[1]! + lengths[2]!);
        known = (tokens) => tokens * (linear + square * tokens);
      }
      this.#activations.set(segments, known);
    }
    return known(length);
  }

  /** Measures the peak memory of a gradient on one artificial sequence, without the weights. */
  async #measure(length: number, segments: number): Promise<number> {
    const [id] = this.#options.masking.replacements;
    const rows = [Array.from({ length }, () => id ?? 0)];
    const part = { rows, length, places: Int32Array.of(1), targets: Int32Array.of(id ?? 0), tokens: length };
    const before = tf.memory().numBytes;
    const { peakBytes } = await tf.profile(async () => {
      const { gradients } = await this.#gradients(part, 1, 0, segments);
      tf.dispose(Object.values(gradients));
    });
    return peakBytes - before;
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
    const variables = [...this.#trained.values()].map(({ variable }) => variable);
    const names = new Map([...this.#trained].map(([name, { variable }]) => [variable.name, name]));
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
      }, variables);
    });
    const [[loss], [right]] = await Promise.all([value.data(), correct!.data()]);
    tf.dispose([value, correct!]);
    const gradients = Object.fromEntries(
      Object.entries(grads).map(([variable, gradient]) => [names.get(variable)!, gradient]),
    );
    return { loss: loss!, correct: right!, gradients };
  }
}

/** Divides sequences into parts of nearly equal size, each with the number of its first sequence. */
function partsOf(
  sequences: readonly TokenSequence[],
  count: number,
): { readonly part: readonly TokenSequence[]; readonly first: number }[] {
  const parts = Math.min(count, sequences.length);
  return Array.from({ length: parts }, (_, i) => {
    const first = Math.floor((i * sequences.length) / parts);
    return { part: sequences.slice(first, Math.floor(((i + 1) * sequences.length) / parts)), first };
  });
}
