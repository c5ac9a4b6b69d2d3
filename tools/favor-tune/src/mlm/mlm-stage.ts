import { OnnxModel } from "@favor/onnx-tfjs";
import type { ModelProto } from "@favor/onnx";
import { Graph } from "@favor/onnx/graph";
import * as tf from "@tensorflow/tfjs";
import type { TokenSequence } from "@favor/measure/tokens";

import { isPositive } from "../model/feature-initializers.ts";
import { TokenFeeds } from "../model/token-feeds.ts";
import type { TokenInputOptions } from "../model/token-feeds.ts";
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
  readonly inputs: TokenInputOptions;
  /** The longest input that the model takes, or undefined. */
  readonly longest: number | undefined;
  /** Sequences a step at most: what numbers the masks. */
  readonly batch: number;
  /** Parts that a step is computed in; undefined: as many as keep its activations within `activationBytes`. */
  readonly accumulate: number | undefined;
  /** Memory for the activations of one part, as tfjs counts it. Default: 1 GiB. */
  readonly activationBytes?: number;
  readonly train: TrainedPart;
  /** Largest global norm of the gradients. */
  readonly clip: number;
  /** Weight decay of matrices and embeddings. */
  readonly decay: number;
  /** Of AdamW. */
  readonly epsilon: number;
  /** Share of the elements of each residual branch that is dropped. */
  readonly dropout: number;
  /** Weight of the divergence to the teacher; 0: no teacher runs. */
  readonly kl: number;
  readonly teacher: LogitTeacher | undefined;
  /** New projections with every epoch, or undefined. */
  readonly redraw: Redraw | undefined;
}

/** What must not become zero, and at a weight of 1e-12 has no say: the core and the weights of features. */
const leastPositive = 1e-12;

/**
 * Memory for the activations of one part, about: wasm has 2 GiB in all, for weights and moments too. tfjs counts what two
 * tensors share twice, some 2.5 times as much as there is.
 */
const usualActivationBytes = 2 ** 30;
/** Segments that a run is divided into where not even one sequence's activations have room: a quarter of a layer each. */
const manySegments = 32;
/** Tokens of the sequences that activations are measured on; shorter ones where the model takes no such length. */
const measuredTokens = 128;

/** Masked language modelling of an ONNX graph on tfjs (Devlin et al. 2018): the second stage, and the control's only one. */
export class MlmStage implements TrainingStage {
  readonly #model: OnnxModel;
  readonly #options: MlmOptions;
  readonly #feeds: TokenFeeds;
  readonly #trained: ReadonlyMap<string, TrainedVariable>;
  readonly #optimiser: AdamW;
  /** Where the masked rows are chosen, and the values that dropout applies to. */
  readonly #rows: string;
  readonly #branches: readonly string[];
  /** By the number of segments: bytes of one sequence's activations, by its length. */
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
   * Loads a model on the backend in use.
   *
   * @param proto - stays open as long as the stage; it is not changed.
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
      // Tied initializers share a variable, which is stepped once.
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
      // A batch of a few short sequences may have no masked token at all: it teaches nothing.
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

  /** The gradients of what must stay positive become those of its logarithm: dL/d(log x) = x dL/dx. */
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

  /** How a batch is computed: by its size alone, so that a resumed run divides it alike. */
  async #partsFor(sequences: readonly TokenSequence[]): Promise<{ readonly count: number; readonly segments: number }> {
    const { accumulate: given, activationBytes = usualActivationBytes } = this.#options;
    const length = this.#feeds.fixedLength ?? Math.max(...sequences.map(({ ids }) => ids.length));
    // In parts that were asked for, what is no longer than what would be measured must have room as that would.
    if (given !== undefined && length <= measuredTokens) return { count: given, segments: 1 };
    const segments = (await this.#activationsOf(length, 1)) > activationBytes ? manySegments : 1;
    if (given !== undefined) return { count: given, segments };
    const bytes = sequences.length * (await this.#activationsOf(length, segments));
    return { count: Math.max(1, Math.ceil(bytes / activationBytes)), segments };
  }

  /**
   * The most memory that the gradient of one sequence takes, less what it takes whatever the length: measured on three
   * short lengths, through which a term in the length and one in its square go, which softmax attention has.
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

  /** The most memory that a gradient takes beside the weights, on one sequence without anything in it. */
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

  /** Loss, gradients and right predictions of one part; loss and gradients are shares of the whole step's mean. */
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

/** The sequences in parts of nearly equal size, each with the number of its first. */
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
