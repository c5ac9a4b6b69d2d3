import { requireFinite, requireInteger, requireLength, requirePositive, rowCount } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { addTransposedProduct } from "../linear-algebra/products.ts";

/**
 * Means and population covariances of one head's queries and keys, both times d^(-1/4). They are the same with ALiBi:
 * weights exp(-m |i - j|) of pairs add up to the same for every query and for every key, but for those near the ends.
 */
export interface HeadMoments {
  readonly dim: number;
  /** Tokens seen; queries, if there are more or fewer of them than keys. */
  readonly count: number;
  /** [dim] */
  readonly queryMean: Float64Array;
  /** [dim, dim] */
  readonly queryCovariance: Float64Array;
  /** [dim] */
  readonly keyMean: Float64Array;
  /** [dim, dim] */
  readonly keyCovariance: Float64Array;
}

/** Weighted sums over queries or keys, for example computed by another program. */
export interface VectorSums {
  /** The sum of the weights; the number of vectors without weights. */
  readonly count: number;
  /** sum of w x, [dim] */
  readonly sum: Float64Array;
  /** sum of w x x^T, [dim, dim] row-major */
  readonly gram: Float64Array;
}

/**
 * The running mean and scatter of vectors. Each block is centred on its own mean and merged by the update of Chan,
 * Golub and LeVeque (1979), so a mean far from zero costs no precision.
 */
class VectorMoments {
  readonly dim: number;
  weight = 0;
  readonly mean: Float64Array;
  /** sum of w (x - mean)(x - mean)^T */
  readonly scatter: Float64Array;

  constructor(dim: number) {
    this.dim = dim;
    this.mean = new Float64Array(dim);
    this.scatter = new Float64Array(dim * dim);
  }

  merge(weight: number, mean: Float64Array, scatter: Float64Array): void {
    if (weight === 0) return;
    const { dim } = this;
    const total = this.weight + weight;
    const cross = (this.weight * weight) / total;
    const shift = mean.map((value, i) => value - this.mean[i]!);
    for (let i = 0; i < dim; i++) {
      for (let j = 0; j < dim; j++) {
        this.scatter[i * dim + j]! += scatter[i * dim + j]! + cross * shift[i]! * shift[j]!;
      }
    }
    for (let i = 0; i < dim; i++) this.mean[i]! += (shift[i]! * weight) / total;
    this.weight = total;
  }

  add(x: Float64Array, rows: number, weights: number | Float64Array): void {
    const { dim } = this;
    const mean = new Float64Array(dim);
    let total = 0;
    for (let row = 0; row < rows; row++) {
      const weight = typeof weights === "number" ? weights : weights[row]!;
      total += weight;
      if (weight === 0) continue;
      for (let i = 0; i < dim; i++) mean[i]! += weight * x[row * dim + i]!;
    }
    if (total === 0) return;
    for (let i = 0; i < dim; i++) mean[i]! /= total;
    const centred = new Float64Array(rows * dim);
    for (let row = 0; row < rows; row++) {
      const weight = typeof weights === "number" ? weights : weights[row]!;
      if (weight === 0) continue;
      const root = Math.sqrt(weight);
      for (let i = 0; i < dim; i++) centred[row * dim + i] = root * (x[row * dim + i]! - mean[i]!);
    }
    const scatter = new Float64Array(dim * dim);
    addTransposedProduct(centred, centred, rows, dim, dim, scatter);
    this.merge(total, mean, scatter);
  }

  covariance(): Float64Array {
    const out = this.scatter.map((value) => value / this.weight);
    const { dim } = this;
    // Blocked sums leave the two triangles equal to rounding only; eigenvectors want them equal.
    for (let i = 0; i < dim; i++) {
      for (let j = 0; j < i; j++) {
        const mean = 0.5 * (out[i * dim + j]! + out[j * dim + i]!);
        out[i * dim + j] = mean;
        out[j * dim + i] = mean;
      }
    }
    return out;
  }
}

/** Streaming moments of one head's queries and keys: add any number of batches, in any order, and merge. */
export class MomentAccumulator {
  readonly dim: number;
  readonly #query: VectorMoments;
  readonly #key: VectorMoments;
  #count = 0;

  /**
   * `dim` is the head dimension d.
   * @throws ArgumentError unless it is a whole number from 1 to 2^20.
   */
  constructor(dim: number) {
    requireInteger("dim", dim, 1, 1 << 20);
    this.dim = dim;
    this.#query = new VectorMoments(dim);
    this.#key = new VectorMoments(dim);
  }

  /**
   * Adds queries `[rows, dim]` and keys `[rows, dim]`; the two may differ in rows.
   *
   * @param weight One number for the call, default 1, or one per row. 1 / rows gives sequences of every length the same
   * weight; 0 leaves out a padded row.
   * @throws ArgumentError for a wrong length, a negative weight, or a value that is not finite.
   */
  add(query: Float64Array, key: Float64Array, weight: number | Float64Array = 1): void {
    const queries = rowCount("query", query, this.dim);
    const keys = rowCount("key", key, this.dim);
    if (typeof weight === "number") {
      requirePositive("weight", weight);
    } else {
      requireLength("weight", weight, queries);
      requireLength("weight", weight, keys);
      const wrong = weight.findIndex((value) => !(value >= 0) || value === Infinity);
      if (wrong >= 0) throw new ArgumentError(`weight[${wrong}]`, "a finite number of at least 0", weight[wrong]);
    }
    requireFinite("query", query);
    requireFinite("key", key);
    this.#query.add(query, queries, weight);
    this.#key.add(key, keys, weight);
    this.#count += typeof weight === "number" ? queries : weight.reduce((n, value) => n + (value > 0 ? 1 : 0), 0);
  }

  /**
   * Adds sums computed elsewhere. Their Gram matrices are not centred, which costs about 2 log10(|mean| / deviation) of
   * the 16 digits, and more if they were summed in float32.
   *
   * @throws ArgumentError for a wrong length or value.
   */
  addMoments(query: VectorSums, key: VectorSums): void {
    this.#addSums("query", this.#query, query);
    this.#addSums("key", this.#key, key);
    this.#count += query.count;
  }

  #addSums(name: string, side: VectorMoments, { count, sum, gram }: VectorSums): void {
    const { dim } = this;
    requirePositive(`${name}.count`, count);
    requireLength(`${name}.sum`, sum, dim);
    requireLength(`${name}.gram`, gram, dim * dim);
    requireFinite(`${name}.sum`, sum);
    requireFinite(`${name}.gram`, gram);
    const mean = sum.map((value) => value / count);
    const scatter = gram.map((value, i) => value - count * mean[Math.floor(i / dim)]! * mean[i % dim]!);
    side.merge(count, mean, scatter);
  }

  /**
   * Adds everything that `other` has seen.
   *
   * @throws ArgumentError if the dimensions differ.
   */
  merge(other: MomentAccumulator): void {
    if (other.dim !== this.dim) throw new ArgumentError("other.dim", `${this.dim}`, other.dim);
    this.#query.merge(other.#query.weight, other.#query.mean, other.#query.scatter);
    this.#key.merge(other.#key.weight, other.#key.mean, other.#key.scatter);
    this.#count += other.#count;
  }

  /**
   * The moments so far.
   *
   * @throws ArgumentError if nothing was added.
   */
  moments(): HeadMoments {
    if (this.#query.weight === 0 || this.#key.weight === 0) {
      throw new ArgumentError("moments", "at least one query and one key added before", "none");
    }
    return {
      dim: this.dim,
      count: this.#count,
      queryMean: this.#query.mean.slice(),
      queryCovariance: this.#query.covariance(),
      keyMean: this.#key.mean.slice(),
      keyCovariance: this.#key.covariance(),
    };
  }
}
