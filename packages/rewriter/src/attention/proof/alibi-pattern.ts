import { alibiPositions, type Alibi } from "../alibi.ts";
import { isMasked, type MaskSample } from "./mask-sample.ts";

/** A sample of a mask, and how it was drawn. */
export interface AlibiSample {
  readonly mask: MaskSample;
  /** Items of the batch; heads of one item follow each other. */
  readonly batch: number;
  /** Whether keys that count and padding were drawn together. Otherwise all keys may be hidden, and rows be flat. */
  readonly isMixed: boolean;
}

/** ALiBi over a padding mask, a causal mask, both, or none. */
export interface AlibiPattern {
  readonly alibi: Alibi;
  readonly causal: boolean;
  /** keep[group, key] of each sample. */
  readonly keep: readonly Uint8Array[];
}

/** A key that a row this near hides is hidden by a mask, and not by its distance, which even steep slopes leave a share. */
const near = 16;
/** No slope of a trained model is less: the least of 64 heads is 2^-8. */
const leastSlope = 1e-5;
/** Weights below this are not told from 0. */
const leastWeight = 1e-30;
/** Small probabilities of 16 bits have few digits. */
const leastWeightOfHalf = 1e-3;
/** Log weights of float32 that differ by less are equal. */
const singleTolerance = 1e-3;

/**
 * The slopes by which the log weights of all samples fall with the distance between query and key, each head by its own,
 * in every item of the batch alike; undefined where they do anything else.
 *
 * @param tolerance of a probability, with which the softmax law was proved
 */
export function findAlibi(samples: readonly AlibiSample[], tolerance: number): AlibiPattern | undefined {
  if (samples.length === 0 || samples.some(({ mask }) => mask.queries !== mask.keys)) return undefined;
  const telling = samples.map((sample) => sample.isMixed || !isFlat(sample.mask));
  if (!samples.some(({ isMixed }) => isMixed)) return undefined;
  const causal = samples.every(({ mask }, at) => !telling[at] || looksBack(mask));
  const keep = samples.map(({ mask }, at) => (telling[at] ? keysKept(mask, causal) : shown(mask)));
  const used = samples.flatMap((sample, at) => (telling[at] ? [{ ...sample, keep: keep[at]! }] : []));
  const heads = used[0]!.mask.groups / used[0]!.batch;
  if (used.some(({ mask, batch }) => mask.groups / batch !== heads)) return undefined;
  const bounds = {
    least: tolerance > singleTolerance ? leastWeightOfHalf : leastWeight,
    tolerance: Math.max(tolerance, singleTolerance),
  };
  for (const positions of ["all", "kept"] as const) {
    const rows = used.flatMap((sample) => rowsOf(sample, causal, positions, heads));
    const slopes = fitSlopes(rows, heads, bounds.least);
    const isSloped = slopes.every((slope) => slope === 0 || slope >= leastSlope) && slopes.some((slope) => slope > 0);
    if (isSloped && rows.every((row) => follows(row, slopes[row.head]!, bounds))) {
      return { alibi: { slopes, positions }, causal, keep };
    }
  }
  return undefined;
}

const shown = ({ groups, keys }: MaskSample): Uint8Array => new Uint8Array(groups * keys).fill(1);

/** Whether no row tells its keys apart, as where a mask hides all of them and rounds the bias away. */
function isFlat({ weights }: MaskSample): boolean {
  return weights.every((weight) => Number.isNaN(weight) || isMasked(weight) || weight > 1 - 1e-6);
}

/** Whether no query attends to a key behind it. */
function looksBack({ weights, groups, queries, keys }: MaskSample): boolean {
  for (let g = 0; g < groups; g++) {
    for (let i = 0; i < queries; i++) {
      const at = (g * queries + i) * keys;
      if (Number.isNaN(weights[at]!) || isMasked(weights[at + i]!)) continue;
      for (let k = i + 1; k < keys; k++) if (!isMasked(weights[at + k]!)) return false;
    }
  }
  return true;
}

/** A key is hidden where a query near it, in causal order not before it, gives it no weight. */
function keysKept({ weights, groups, queries, keys }: MaskSample, causal: boolean): Uint8Array {
  const keep = new Uint8Array(groups * keys).fill(1);
  for (let g = 0; g < groups; g++) {
    for (let k = 0; k < keys; k++) {
      for (let i = Math.max(0, causal ? k : k - near); i < Math.min(queries, k + near + 1); i++) {
        const at = (g * queries + i) * keys;
        if (!Number.isNaN(weights[at]!) && isMasked(weights[at + k]!)) keep[g * keys + k] = 0;
      }
    }
  }
  return keep;
}

/** The row of one query that is no padding. */
interface Row {
  readonly head: number;
  readonly weights: Float64Array;
  /** Whether it sees a key. */
  readonly sees: (key: number) => boolean;
  readonly distance: (key: number) => number;
  /** The key of the largest weight. */
  readonly heaviest: number;
}

function rowsOf(
  { mask, keep }: AlibiSample & { readonly keep: Uint8Array },
  causal: boolean,
  positions: Alibi["positions"],
  heads: number,
): Row[] {
  const { weights, groups, queries, keys } = mask;
  const rows: Row[] = [];
  for (let g = 0; g < groups; g++) {
    const own = keep.subarray(g * keys, (g + 1) * keys);
    const at = alibiPositions({ positions }, keys, own);
    for (let i = 0; i < queries; i++) {
      if (own[i] === 0) continue;
      const row = weights.subarray((g * queries + i) * keys, (g * queries + i + 1) * keys);
      rows.push({
        head: g % heads,
        weights: row,
        sees: (key) => own[key] === 1 && (!causal || key <= i),
        distance: (key) => Math.abs(at[key]! - at[i]!),
        heaviest: row.indexOf(row.reduce((a, b) => Math.max(a, b), 0)),
      });
    }
  }
  return rows;
}

/** The slope of each head with the least squared error of its log weights. */
function fitSlopes(rows: readonly Row[], heads: number, least: number): number[] {
  const [products, squares] = [new Float64Array(heads), new Float64Array(heads)];
  for (const { head, weights, sees, distance, heaviest } of rows) {
    for (const [key, weight] of weights.entries()) {
      if (!(weight > least) || !sees(key)) continue;
      const further = distance(key) - distance(heaviest);
      products[head]! -= further * Math.log(weight);
      squares[head]! += further * further;
    }
  }
  return Array.from(products, (product, head) => {
    const slope = squares[head] === 0 ? Number.NaN : product / squares[head]!;
    return Math.abs(slope) < leastSlope / 10 ? 0 : slope;
  });
}

/** Whether a row has the weights of its slope, and none of keys that it may not see. */
function follows(row: Row, slope: number, { least, tolerance }: { least: number; tolerance: number }): boolean {
  const { weights, sees, distance, heaviest } = row;
  if (Number.isNaN(weights[0]!) || !sees(heaviest)) return false;
  return weights.every((weight, key) => {
    if (!sees(key)) return isMasked(weight);
    const expected = -slope * (distance(key) - distance(heaviest));
    if (expected < Math.log(least)) return weight < 2 * least;
    return Math.abs(Math.log(weight) - expected) <= tolerance;
  });
}
