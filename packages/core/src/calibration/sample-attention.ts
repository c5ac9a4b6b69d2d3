import { requireSlope } from "../attention/alibi.ts";
import { blockChooser, blockLogMask, exactRanges, resolveExactKeys } from "../attention/hybrid/exact-keys.ts";
import type { ExactKeysOptions } from "../attention/hybrid/exact-keys.ts";
import { requireFinite, requireLength, requireObject, rowCount } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import type { HeadCoordinates } from "../features/coordinates.ts";
import { multiplyTransposed } from "../linear-algebra/products.ts";
import type { RandomStream } from "../random/stream.ts";

/** One head's queries `[rows, dim]` and keys `[rows, dim]` in one input sequence, both scaled by d^(-1/4), unpadded. */
export interface AttentionInput {
  readonly query: Float64Array;
  readonly key: Float64Array;
  /**
   * `[rows of query]`, ascending: where the queries stand among the keys, if only some of them are given. Exact keys need
   * whole blocks of queries, in causal attention also the block before each. Default: queries 0, 1, 2, ...
   */
  readonly positions?: Uint32Array;
}

/** The exact attention of some queries of one input, in the balanced coordinates. */
export interface SampledAttention {
  /** q', [queries, dim] */
  readonly query: Float64Array;
  /** k', [keys, dim] */
  readonly key: Float64Array;
  /** queryMean.(k - keyMean), [keys] */
  readonly keyLogWeight: Float64Array;
  /**
   * How many keys, counted from the first, each query attends to: all, or in causal attention those up to its own
   * position.
   */
  readonly attended: Uint32Array;
  /** P, [queries, keys]; rows sum to 1, and are 0 from `attended` on. */
  readonly attention: Float64Array;
  /** ALiBi's exp(-m |i - j|), 0 from `attended` on, [queries, keys]; undefined without a slope. P has it in. */
  readonly fade: Float64Array | undefined;
  /** Per query the keys that are exact, as ranges [from, to, ...] below `attended`; undefined: none. */
  readonly exact: readonly (readonly number[])[] | undefined;
  /** log sum_j exp(q'.k'_j + keyLogWeight_j) over the attended keys, [queries] */
  readonly logNormaliser: Float64Array;
  /**
   * What the squared error of a row counts, [queries]: (softmax's normaliser over the attended keys / that over all keys)
   * squared. In causal attention rows that do not see what they look for would otherwise decide everything.
   */
  readonly rowWeight: Float64Array;
  /** sum_j P_ij^2 over the keys that are not exact, times the row's weight, [queries] */
  readonly queryWeight: Float64Array;
  /** sum_i P_ij^2 over the queries for which the key is not exact, times the row's weight, [keys] */
  readonly keyWeight: Float64Array;
}

/** @throws ArgumentError unless `inputs` is an array of objects with a query and a key. */
export function requireInputs(inputs: readonly AttentionInput[]): void {
  if (!Array.isArray(inputs)) throw new ArgumentError("inputs", "an array of { query, key }, one per sequence", inputs);
  for (const [i, input] of inputs.entries()) requireObject(`inputs[${i}]`, input, "{ query, key }");
}

/**
 * @throws ArgumentError, naming the input, if its width is not `dim`, a value is not finite, or it has not as many keys
 * as queries in causal attention; also if all inputs are empty.
 */
export function checkInputs(inputs: readonly AttentionInput[], dim: number, causal = false, slope = 0): void {
  requireInputs(inputs);
  for (const [i, { query, key, positions }] of inputs.entries()) {
    const queries = rowCount(`inputs[${i}].query`, query, dim);
    const keys = rowCount(`inputs[${i}].key`, key, dim);
    if (positions !== undefined) {
      requireLength(`inputs[${i}].positions`, positions, queries);
      const wrong = positions.findIndex((at, row) => at >= keys || (row > 0 && at <= positions[row - 1]!));
      if (wrong >= 0) {
        throw new ArgumentError(
          `inputs[${i}].positions[${wrong}]`,
          `above the one before and below ${keys}`,
          positions[wrong],
        );
      }
    } else if ((causal || slope > 0) && queries !== keys) {
      const why = causal ? "causal attention" : "ALiBi";
      throw new ArgumentError(`inputs[${i}].key`, `as many keys as queries, ${queries}, for ${why}`, keys);
    }
    requireFinite(`inputs[${i}].query`, query);
    requireFinite(`inputs[${i}].key`, key);
  }
  if (!inputs.some(({ query, key }) => query.length > 0 && key.length > 0)) {
    throw new ArgumentError("inputs", "at least one input with queries and keys", `${inputs.length} empty ones`);
  }
}

/** @throws ArgumentError unless the slope is finite and not negative, and no keys are exact besides. */
export function checkSlope(slope: number, exactKeys: ExactKeysOptions | undefined): void {
  requireSlope("options.slope", slope);
  if (slope > 0 && exactKeys)
    throw new ArgumentError("options.exactKeys", "none with a slope: hybrid attention has no ALiBi", exactKeys);
}

/** The most queries taken from one input: more inputs tell more than more rows of a long one. */
const queriesPerInput = 128;

/** With exact keys, of how many blocks of queries they are: choosing blocks of keys is what takes time. */
const queryBlocksPerInput = 8;

export interface SamplingOptions {
  /** Query i attends only to the keys 0..i. Default false. */
  readonly causal?: boolean;
  /** Which keys are exact. Inputs that have no others are left out. Default: none. */
  readonly exactKeys?: ExactKeysOptions | undefined;
  /** ALiBi's slope m, with as many queries as keys. Default 0: none. */
  readonly slope?: number;
}

/**
 * Exact attention of about `rows` queries. Takes inputs in random order until there are enough rows. Of a long input it
 * takes random queries (evenly spaced ones would see few positions only) against all of its keys, or in causal
 * attention against those up to their own position.
 */
export function sampleAttention(
  inputs: readonly AttentionInput[],
  coordinates: HeadCoordinates,
  rows: number,
  stream: RandomStream,
  { causal = false, exactKeys, slope = 0 }: SamplingOptions = {},
): SampledAttention[] {
  const dim = coordinates.queryMean.length;
  const sample: SampledAttention[] = [];
  let taken = 0;
  for (const index of stream.permutation(inputs.length)) {
    if (taken >= rows) break;
    const { query, key } = inputs[index]!;
    if (query.length === 0 || key.length === 0) continue;
    const { positions = Uint32Array.from({ length: query.length / dim }, (_, i) => i) } = inputs[index]!;
    const isHybrid = exactKeys !== undefined && exactKeys.window > 0;
    const chosen = isHybrid
      ? rowsOfBlocks(positions, exactKeys.window, stream)
      : stream.permutation(positions.length).subarray(0, queriesPerInput).toSorted();
    const selected = new Float64Array(chosen.length * dim);
    for (const [target, row] of chosen.entries()) {
      selected.set(query.subarray(row * dim, (row + 1) * dim), target * dim);
    }
    const keys = key.length / dim;
    const places = chosen.map((row) => positions[row]!);
    const attended = causal ? places.map((place) => place + 1) : new Uint32Array(chosen.length).fill(keys);
    const exact = exactKeys && rangesOfRows({ query, key, positions }, dim, places, { ...exactKeys, causal });
    if (exact?.every((ranges, i) => ranges[0] === 0 && ranges[1] === attended[i])) continue;
    taken += chosen.length;
    sample.push(attend(selected, key, { attended, exact, fade: fadeOf(slope, places, attended, keys) }, coordinates));
  }
  return sample;
}

/** Some rows of some blocks of queries, as numbers into `positions`, ascending. */
function rowsOfBlocks(positions: Uint32Array, window: number, stream: RandomStream): Uint32Array {
  const byBlock = new Map<number, number[]>();
  for (const [row, position] of positions.entries()) {
    const block = Math.floor(position / window);
    const rows = byBlock.get(block);
    if (rows === undefined) byBlock.set(block, [row]);
    else rows.push(row);
  }
  const blocks = [...byBlock.values()];
  const perBlock = Math.ceil(queriesPerInput / Math.min(queryBlocksPerInput, blocks.length));
  const taken: number[] = [];
  for (const index of stream.permutation(blocks.length)) {
    if (taken.length >= queriesPerInput) break;
    const rows = blocks[index]!;
    for (const at of stream.permutation(rows.length).subarray(0, perBlock)) taken.push(rows[at]!);
  }
  return Uint32Array.from(taken).toSorted();
}

/** The exact keys of the queries at some places, cut at the query in causal attention. Rows of a block share theirs. */
function rangesOfRows(
  { query, key, positions }: Required<AttentionInput>,
  dim: number,
  places: Uint32Array,
  { causal, ...options }: ExactKeysOptions & { readonly causal: boolean },
): (readonly number[])[] {
  const keys = key.length / dim;
  const isNear = options.near ?? true;
  const queries = isNear || causal ? keys : positions.length;
  const exact = resolveExactKeys(options, { queries, keys }, undefined, causal);
  if (exact.window === 0) return Array.from(places, () => []);
  const choose = blockChooser(key, dim, exact, blockLogMask(keys, undefined, exact.first));
  const rowsAt = (from: number, to: number): Float64Array => {
    const first = positions.indexOf(from);
    if (first < 0 || positions[first + to - from - 1] !== to - 1) {
      throw new ArgumentError(
        "inputs.positions",
        `all of the queries ${from} to ${to - 1}, which choose blocks`,
        positions,
      );
    }
    return query.subarray(first * dim, (first + to - from) * dim);
  };
  const known = new Map<number, readonly number[]>();
  return Array.from(places, (place) => {
    const block = Math.floor(place / exact.window);
    const ranges = known.get(block) ?? exactRanges(exact, choose(block, queries, rowsAt), block, keys);
    known.set(block, ranges);
    return causal ? cutAt(ranges, place + 1) : ranges;
  });
}

/** exp(-m |i - j|) of the chosen rows i and the keys j that they attend to, [rows, keys]. */
function fadeOf(slope: number, rows: Uint32Array, attended: Uint32Array, keys: number): Float64Array | undefined {
  if (slope === 0) return undefined;
  const fade = new Float64Array(rows.length * keys);
  for (const [i, row] of rows.entries()) {
    for (let j = 0; j < attended[i]!; j++) fade[i * keys + j] = Math.exp(-slope * Math.abs(row - j));
  }
  return fade;
}

/** The parts of ascending ranges below `end`. */
function cutAt(ranges: readonly number[], end: number): readonly number[] {
  const cut: number[] = [];
  for (let at = 0; at < ranges.length && ranges[at]! < end; at += 2) {
    cut.push(ranges[at]!, Math.min(end, ranges[at + 1]!));
  }
  return cut;
}

function attend(
  query: Float64Array,
  key: Float64Array,
  { attended, exact, fade }: Pick<SampledAttention, "attended" | "exact" | "fade">,
  coordinates: HeadCoordinates,
): SampledAttention {
  const { queryMean, keyMean, queryMatrix, keyMatrix } = coordinates;
  const dim = queryMean.length;
  const queries = query.length / dim;
  const keys = key.length / dim;
  const q = transform(query, queryMean, queryMatrix);
  const k = transform(key, keyMean, keyMatrix);
  const keyLogWeight = new Float64Array(keys);
  for (let i = 0; i < key.length; i++) {
    keyLogWeight[Math.floor(i / dim)]! += (key[i]! - keyMean[i % dim]!) * queryMean[i % dim]!;
  }
  const attention = multiplyTransposed(q, k, queries, dim, keys);
  const logNormaliser = new Float64Array(queries);
  const rowWeight = new Float64Array(queries).fill(1);
  const queryWeight = new Float64Array(queries);
  const keyWeight = new Float64Array(keys);
  for (let i = 0; i < queries; i++) {
    const row = attention.subarray(i * keys, (i + 1) * keys);
    const end = attended[i]!;
    const logAll = exact && end < keys ? logNormaliserOf(row, keyLogWeight) : undefined;
    row.fill(0, end);
    let largest = -Infinity;
    for (let j = 0; j < end; j++) {
      row[j]! += keyLogWeight[j]!;
      if (fade) row[j]! += Math.log(fade[i * keys + j]!);
      largest = Math.max(largest, row[j]!);
    }
    let total = 0;
    for (let j = 0; j < end; j++) {
      row[j] = Math.exp(row[j]! - largest);
      total += row[j]!;
    }
    logNormaliser[i] = largest + Math.log(total);
    if (logAll !== undefined) rowWeight[i] = Math.exp(2 * (logNormaliser[i]! - logAll));
    for (let j = 0; j < end; j++) row[j]! /= total;
    forEachOther(exact?.[i], end, (j) => {
      const square = rowWeight[i]! * row[j]! * row[j]!;
      queryWeight[i]! += square;
      keyWeight[j]! += square;
    });
  }
  return {
    query: q,
    key: k,
    keyLogWeight,
    attended,
    attention,
    fade,
    exact,
    logNormaliser,
    rowWeight,
    queryWeight,
    keyWeight,
  };
}

/** log sum_j exp(logits_j + weights_j). */
function logNormaliserOf(logits: Float64Array, weights: Float64Array): number {
  let largest = -Infinity;
  for (const [j, logit] of logits.entries()) largest = Math.max(largest, logit + weights[j]!);
  let total = 0;
  for (const [j, logit] of logits.entries()) total += Math.exp(logit + weights[j]! - largest);
  return largest + Math.log(total);
}

/** Calls visit for 0..end - 1 but for the numbers within `ranges`. */
export function forEachOther(ranges: readonly number[] | undefined, end: number, visit: (j: number) => void): void {
  let j = 0;
  for (let range = 0; range < (ranges?.length ?? 0); range += 2) {
    for (const to = ranges![range]!; j < to; j++) visit(j);
    j = ranges![range + 1]!;
  }
  for (; j < end; j++) visit(j);
}

/** matrix (x - mean), [rows, dim]. */
function transform(x: Float64Array, mean: Float64Array, matrix: Float64Array): Float64Array {
  const dim = mean.length;
  const centred = x.map((value, i) => value - mean[i % dim]!);
  return multiplyTransposed(centred, matrix, x.length / dim, dim, dim);
}
