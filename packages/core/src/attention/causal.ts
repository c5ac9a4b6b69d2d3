import { requireSize } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { checkState, rescale, startCausal } from "./causal-state.ts";
import type { CausalState } from "./causal-state.ts";
import { checkLinearInput, keyLogWeights, resolveShape } from "./linear-shape.ts";
import type { LinearInput, LinearShape } from "./linear-shape.ts";
import { requireOptions } from "../options.ts";
import type { OptionNames } from "../options.ts";

export interface CausalOptions {
  /** Rows per chunk, C. Default 64; results depend on it only by rounding. */
  readonly chunk?: number;
  /** The past to continue from, updated in place. Default: none, as {@link startCausal} makes it. */
  readonly state?: CausalState;
}

const names: OptionNames<CausalOptions> = { chunk: true, state: true };

/** One key head's rows, as the chunk functions see them. */
export interface CausalRows {
  readonly key: Float64Array;
  readonly value: Float64Array;
  /** Log weight of each row, -Infinity for a hidden key. */
  readonly weights: Float64Array;
  readonly count: number;
  readonly valueDim: number;
}

/**
 * Causal linear attention by chunked prefix sums (2009.14794, section 2.5.1 and appendix B.1; 2006.03555, algorithm 1):
 *
 *     out_i = sum_{j<=i} phi(q_i).phi(k_j) v_j / sum_{j<=i} phi(q_i).phi(k_j)
 *
 * Takes O(L M d) time. Besides its result it holds the M (d + 1) prefix sums and C numbers.
 *
 * Stabilised by the running maximum of the keys' log weights: row i is computed relative to the maximum over j <= i,
 * and the sums are rescaled when that grows. No row ever depends on a later key, bit for bit. A row whose keys are all
 * hidden gives 0. NaN in a row gives NaN from that row on.
 *
 * @param shape `queryRows` and `keyRows` must be equal.
 * @returns `[heads, rows, valueDim]`.
 * @throws ArgumentError if the arrays do not fit the shape or the state.
 */
export function causalLinearAttention(
  input: LinearInput,
  shape: LinearShape,
  options: CausalOptions = {},
): Float64Array {
  const resolved = resolveShape(shape);
  const { heads, keyHeads, queryRows: rows, keyRows, count, valueDim, group } = resolved;
  if (rows !== keyRows) throw new ArgumentError("shape.keyRows", `queryRows (${rows}) in causal attention`, keyRows);
  checkLinearInput(input, resolved);
  requireOptions("options", options, names);
  const { chunk = 64, state = startCausal({ keyHeads, count, valueDim }) } = options;
  requireSize("options.chunk", chunk, 1);
  checkState(state, { keyHeads, count, valueDim });
  const weights = keyLogWeights(input, resolved);
  const out = new Float64Array(heads * rows * valueDim);
  const running = new Float64Array(Math.min(chunk, rows));
  const sumsSize = count * (valueDim + 1);
  for (let keyHead = 0; keyHead < keyHeads; keyHead++) {
    const keyRowsOf: CausalRows = {
      key: input.key.subarray(keyHead * rows * count, (keyHead + 1) * rows * count),
      value: input.value.subarray(keyHead * rows * valueDim, (keyHead + 1) * rows * valueDim),
      weights: weights.subarray(keyHead * rows, (keyHead + 1) * rows),
      count,
      valueDim,
    };
    const sums = state.sums.subarray(keyHead * sumsSize, (keyHead + 1) * sumsSize);
    for (let start = 0; start < rows; start += chunk) {
      const end = Math.min(rows, start + chunk);
      const past = state.logScale[keyHead]!;
      runningMaximum(keyRowsOf.weights, start, end, past, running);
      for (let head = keyHead * group; head < (keyHead + 1) * group; head++) {
        const query = input.query.subarray(head * rows * count, (head + 1) * rows * count);
        const result = out.subarray(head * rows * valueDim, (head + 1) * rows * valueDim);
        attendChunk(query, keyRowsOf, sums, past, running, start, end, result);
      }
      const latest = running[end - start - 1]!;
      addToSums(keyRowsOf, start, end, past, latest, sums);
      state.logScale[keyHead] = latest;
    }
  }
  return out;
}

/** running[i - start] = max(past, weights[start..i]): what row i may be scaled by. */
export function runningMaximum(
  weights: Float64Array,
  start: number,
  end: number,
  past: number,
  running: Float64Array,
): void {
  let maximum = past;
  for (let row = start; row < end; row++) {
    maximum = Math.max(maximum, weights[row]!);
    running[row - start] = maximum;
  }
}

/** out[start..end): every row attends to the prefix sums, and to the rows of its chunk up to itself. */
function attendChunk(
  query: Float64Array,
  rows: CausalRows,
  sums: Float64Array,
  past: number,
  running: Float64Array,
  start: number,
  end: number,
  out: Float64Array,
): void {
  const { key, value, weights, count, valueDim } = rows;
  const width = valueDim + 1;
  const accumulator = new Float64Array(width);
  for (let i = start; i < end; i++) {
    const scale = running[i - start]!;
    if (scale === -Infinity) continue; // nothing to attend to yet: the row stays 0
    accumulator.fill(0);
    const fromPast = rescale(past, scale);
    if (fromPast !== 0) {
      for (let m = 0; m < count; m++) {
        const phi = fromPast * query[i * count + m]!;
        for (let c = 0; c < width; c++) accumulator[c]! += phi * sums[m * width + c]!;
      }
    }
    for (let j = start; j <= i; j++) {
      const weight = rescale(weights[j]!, scale);
      if (weight === 0) continue; // hidden, or too small to matter: its value may be anything
      let score = 0;
      for (let m = 0; m < count; m++) score += query[i * count + m]! * key[j * count + m]!;
      score *= weight;
      for (let c = 0; c < valueDim; c++) accumulator[c]! += score * value[j * valueDim + c]!;
      accumulator[valueDim]! += score;
    }
    const normaliser = accumulator[valueDim]!;
    if (normaliser === 0) continue;
    for (let c = 0; c < valueDim; c++) out[i * valueDim + c] = accumulator[c]! / normaliser;
  }
}

/** S <- exp(from - to) S + sum_j exp(weight_j - to) phi(k_j) [v_j, 1], over the rows start..end. */
export function addToSums(
  rows: CausalRows,
  start: number,
  end: number,
  from: number,
  to: number,
  sums: Float64Array,
): void {
  const { key, value, weights, count, valueDim } = rows;
  const width = valueDim + 1;
  const factor = rescale(from, to);
  if (factor !== 1) for (let index = 0; index < sums.length; index++) sums[index]! *= factor;
  for (let j = start; j < end; j++) {
    const weight = rescale(weights[j]!, to);
    if (weight === 0) continue;
    for (let m = 0; m < count; m++) {
      const phi = weight * key[j * count + m]!;
      for (let c = 0; c < valueDim; c++) sums[m * width + c]! += phi * value[j * valueDim + c]!;
      sums[m * width + valueDim]! += phi;
    }
  }
}
