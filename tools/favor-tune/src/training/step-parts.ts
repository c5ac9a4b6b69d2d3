import * as tf from "@tensorflow/tfjs";
import type { TokenSequence } from "@favor/measure/tokens";

/**
 * Approximate memory for the activations of one part. wasm has 2 GiB in all, also for weights and moments. tfjs counts
 * shared memory twice, and so about 2.5 times too much.
 */
const usualActivationBytes = 2 ** 30;
/** Segments to divide a run into if not even one sequence's activations fit: about a quarter of a layer each. */
const manySegments = 32;
/** Length of the sequences on which activations are measured, in tokens; less if the model requires it. */
const measuredTokens = 128;

export interface StepPartsOptions {
  /** Parts in which a step is computed; undefined: as many as keep its activations within `activationBytes`. */
  readonly accumulate: number | undefined;
  /** Memory for the activations of one part, as tfjs counts it. Default: 1 GiB. */
  readonly activationBytes?: number | undefined;
  /** The longest input that the model accepts, in tokens, or undefined. */
  readonly longest: number | undefined;
  /** The length that every sequence is padded to, or undefined. */
  readonly fixedLength: number | undefined;
  /** Computes the gradient of one sequence of `length` tokens and disposes of it; see `OnnxModel.run` for segments. */
  readonly gradient: (length: number, segments: number) => Promise<void>;
}

/** How a step is computed: in parts one after the other, and each in segments. */
export interface Division {
  readonly count: number;
  readonly segments: number;
}

/** Divides the batches of a stage so that the activations of a part fit into memory. */
export class StepParts {
  readonly #options: StepPartsOptions;
  /** Bytes of one sequence's activations by its length, for each number of segments. */
  readonly #activations = new Map<number, (length: number) => number>();

  constructor(options: StepPartsOptions) {
    this.#options = options;
  }

  /** How to divide a batch. It depends only on its size, so that a resumed run divides it in the same way. */
  async of(sequences: readonly TokenSequence[]): Promise<Division> {
    const { accumulate: given, activationBytes = usualActivationBytes, fixedLength } = this.#options;
    const length = fixedLength ?? Math.max(...sequences.map(({ ids }) => ids.length));
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
      const { fixedLength, longest: most = measuredTokens } = this.#options;
      if (fixedLength !== undefined) {
        const bytes = await this.#measure(fixedLength, segments);
        known = () => bytes;
      } else {
        const longest = Math.min(measuredTokens, most);
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

  /** Measures the peak memory of a gradient, without the weights. */
  async #measure(length: number, segments: number): Promise<number> {
    const before = tf.memory().numBytes;
    const { peakBytes } = await tf.profile(async () => {
      await this.#options.gradient(length, segments);
    });
    return peakBytes - before;
  }
}

/** Divides the sequences of a batch into parts of nearly equal size, each with the number of its first sequence. */
export function partsOf<T>(
  sequences: readonly T[],
  count: number,
): { readonly part: readonly T[]; readonly first: number }[] {
  const parts = Math.min(count, sequences.length);
  return Array.from({ length: parts }, (_, i) => {
    const first = Math.floor((i * sequences.length) / parts);
    return { part: sequences.slice(first, Math.floor(((i + 1) * sequences.length) / parts)), first };
  });
}
