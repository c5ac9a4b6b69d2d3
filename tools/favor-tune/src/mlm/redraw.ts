import { RandomStream } from "@favor/core";
import { decodeTensor } from "@favor/onnx/evaluate";
import { tensorShape } from "@favor/onnx";
import type { ModelProto } from "@favor/onnx";

import { TuneInputError } from "../errors.ts";

/** Purpose of the stream of rotations; different from those of @favor/core. */
const rotationPurpose = 0x7475_6e65;

/**
 * Draws new random projections for every epoch. An uncalibrated projection is D Q, with norms D and directions Q that are
 * uniform over rotations. With a uniform rotation R, D Q R is another draw from the same distribution, independent of Q
 * and with the same norms. Queries and keys of a head get the same R, which keeps the estimate of exp(q.k) unbiased.
 */
export class Redraw {
  /** Names of the initializers that are redrawn. */
  readonly initializers: readonly string[];
  readonly #projections: readonly Projection[];
  readonly #seed: number;
  #epoch = 0;

  /** @throws {TuneInputError} `nothing-to-redraw` if the feature maps are fitted to data or have no projection. */
  constructor(model: ModelProto, seed: number) {
    this.#projections = projectionsOf(model);
    this.initializers = this.#projections.map(({ name }) => name);
    this.#seed = seed;
  }

  /** Assigns the projections of an epoch, if it is a new one. Epoch 0 has those of the file. */
  draw(epoch: number, assign: (name: string, values: Float32Array) => void): void {
    if (epoch === this.#epoch) return;
    this.#epoch = epoch;
    for (const projection of this.#projections) {
      assign(
        projection.name,
        rotated(projection, (head) => this.#rotation(epoch, projection, head)),
      );
    }
  }

  #rotation(epoch: number, { site, dim }: Projection, head: number): Float64Array {
    return uniformRotation(
      dim,
      new RandomStream({ seed: this.#seed, purpose: rotationPurpose, layer: site, head, epoch }),
    );
  }
}

/** A stored projection: [heads, dim, count] for queries; that or [heads, count, dim] for keys. */
interface Projection {
  readonly name: string;
  readonly site: number;
  readonly heads: number;
  readonly dim: number;
  readonly count: number;
  readonly isTransposed: boolean;
  readonly values: Float64Array;
}

const pattern = /^favor\/(?:omega_query|omega_key)(?:_(\d+))?$/;
const fitted = /^favor\/(bias_query|balance_key|weight_key|core|weight_state)/;

function projectionsOf({ graph }: ModelProto): Projection[] {
  const found = graph.initializer.flatMap((tensor) => {
    const match = pattern.exec(tensor.name);
    return match === null ? [] : [{ tensor, site: Number(match[1] ?? 0) }];
  });
  const fit = graph.initializer.find(({ name }) => fitted.test(name));
  if (found.length === 0 || fit !== undefined) {
    const why = fit === undefined ? "have no random projection" : `are fitted to data ("${fit.name}")`;
    throw new TuneInputError(
      `--redraw draws new random projections, but the feature maps of this model ${why}. Omit --redraw, or convert ` +
        `with --features positive and without --calibrate.`,
      { code: "nothing-to-redraw" },
    );
  }
  return found.map(({ tensor, site }) => {
    // On the right of a product it is [dim, count], on the left [count, dim].
    const isTransposed = graph.node.some(({ input }) => input[1] === tensor.name);
    const [heads, rows, columns] = tensorShape(tensor).dims as [number, number, number];
    const [dim, count] = isTransposed ? [rows, columns] : [columns, rows];
    const values = Float64Array.from(decodeTensor(tensor).data);
    return { name: tensor.name, site, heads, dim, count, isTransposed, values };
  });
}

/** w_m R for every row w_m of every head. */
function rotated(projection: Projection, rotationOf: (head: number) => Float64Array): Float32Array {
  const { heads, dim, count, isTransposed, values } = projection;
  const out = new Float32Array(values.length);
  for (let head = 0; head < heads; head++) {
    const rotation = rotationOf(head);
    const at = (m: number, i: number): number => head * dim * count + (isTransposed ? i * count + m : m * dim + i);
    for (let m = 0; m < count; m++) {
      for (let j = 0; j < dim; j++) {
        let sum = 0;
        for (let i = 0; i < dim; i++) sum += values[at(m, i)]! * rotation[i * dim + j]!;
        out[at(m, j)] = sum;
      }
    }
  }
  return out;
}

/** A uniformly random rotation or reflection: Gaussian rows, orthonormalised one after the other. */
function uniformRotation(dim: number, random: RandomStream): Float64Array {
  const rows = random.gaussians(dim * dim);
  for (let row = 0; row < dim; row++) {
    const own = rows.subarray(row * dim, (row + 1) * dim);
    // Twice, because rounding leaves a remainder the first time.
    for (let repeat = 0; repeat < 2; repeat++) {
      for (let other = 0; other < row; other++) subtractProjection(own, rows.subarray(other * dim, (other + 1) * dim));
    }
    const norm = Math.sqrt(own.reduce((sum, value) => sum + value * value, 0));
    for (let i = 0; i < dim; i++) own[i]! /= norm;
  }
  return rows;
}

function subtractProjection(vector: Float64Array, unit: Float64Array): void {
  let product = 0;
  for (let i = 0; i < vector.length; i++) product += vector[i]! * unit[i]!;
  for (let i = 0; i < vector.length; i++) vector[i]! -= product * unit[i]!;
}
