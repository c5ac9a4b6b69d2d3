import { requireArray, requireLength } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { addToSums } from "./causal.ts";
import type { CausalRows } from "./causal.ts";
import { checkState, rescale } from "./causal-state.ts";
import type { CausalState } from "./causal-state.ts";
import { checkLinearInput, keyLogWeights, resolveShape } from "./linear-shape.ts";
import type { LinearInput, LinearShape } from "./linear-shape.ts";
import { attend } from "./linear.ts";
import { requireOptions } from "../options.ts";
import type { OptionNames } from "../options.ts";

export interface AlibiAttentionOptions {
  /** `[heads]`: the slope m of each head, at least 0; a key at distance t weighs exp(-m t) as much as one at hand. */
  readonly slopes: ArrayLike<number>;
  /** Row i attends to the keys 0..i. Default false: to all keys. */
  readonly causal?: boolean;
  /**
   * Causal only: the past to continue from, updated in place, with a key head for each head. Its log scale is relative to
   * the last token. Default: none.
   */
  readonly state?: CausalState;
}

const names: OptionNames<AlibiAttentionOptions> = { slopes: true, causal: true, state: true };

/**
 * Linear attention with the bias of ALiBi (2108.12409): the logits get -m |i - j|, so each estimate is multiplied by
 * exp(-m |i - j|),
 *
 *     out_i = sum_j exp(-m |i - j|) phi(q_i).phi(k_j) v_j / sum_j exp(-m |i - j|) phi(q_i).phi(k_j).
 *
 * One scan forward over the keys up to i and, unless causal, one backward over those behind it, each with sums that fade
 * by exp(-m) per row: O(L M d) time, and besides its result L (d + 2) numbers per head. In float64, without a gradient.
 *
 * Sums are relative to the largest log weight among their keys as it is seen from the row: nothing overflows, however
 * long the sequence, and a causal row never depends on a later key, bit for bit. Hidden keys take up positions, too.
 *
 * @param shape `queryRows` and `keyRows` must be equal.
 * @returns `[heads, rows, valueDim]`.
 * @throws ArgumentError if the arrays do not fit the shape or the state, or a slope is negative or not finite.
 */
export function alibiLinearAttention(
  input: LinearInput,
  shape: LinearShape,
  options: AlibiAttentionOptions,
): Float64Array {
  const resolved = resolveShape(shape);
  const { heads, queryRows: rows, keyRows, count, valueDim, group } = resolved;
  if (rows !== keyRows) throw new ArgumentError("shape.keyRows", `queryRows (${rows}) with ALiBi`, keyRows);
  checkLinearInput(input, resolved);
  requireOptions("options", options, names, "{ slopes: [0.5, 0.25] }");
  const { slopes, causal = false, state } = options;
  requireArray("options.slopes", slopes, "numbers [heads]");
  requireLength("options.slopes", slopes, heads);
  for (let head = 0; head < heads; head++) requireSlope(`options.slopes[${head}]`, slopes[head]!);
  if (state !== undefined) {
    if (!causal) throw new ArgumentError("options.state", "none unless attention is causal", "a state");
    checkState(state, { keyHeads: heads, count, valueDim });
  }
  const weights = keyLogWeights(input, resolved);
  const width = valueDim + 1;
  const out = new Float64Array(heads * rows * valueDim);
  for (let head = 0; head < heads; head++) {
    const keyHead = Math.floor(head / group);
    const scanned: HeadRows = {
      query: input.query.subarray(head * rows * count, (head + 1) * rows * count),
      key: input.key.subarray(keyHead * rows * count, (keyHead + 1) * rows * count),
      value: input.value.subarray(keyHead * rows * valueDim, (keyHead + 1) * rows * valueDim),
      weights: weights.subarray(keyHead * rows, (keyHead + 1) * rows),
      count,
      valueDim,
    };
    const size = count * width;
    const past = state && {
      sums: state.sums.subarray(head * size, (head + 1) * size),
      logScale: state.logScale[head]!,
    };
    const sums = past ?? { sums: new Float64Array(size), logScale: -Infinity };
    const before = scan(scanned, slopes[head]!, sums, "forward");
    if (state !== undefined) state.logScale[head] = sums.logScale;
    const behind = causal
      ? undefined
      : scan(scanned, slopes[head]!, { sums: new Float64Array(size), logScale: -Infinity }, "backward");
    normalise(before, behind, width, out.subarray(head * rows * valueDim, (head + 1) * rows * valueDim));
  }
  return out;
}

/** @throws ArgumentError unless it is a finite number of at least 0. */
export function requireSlope(argument: string, slope: number): void {
  if (!(slope >= 0 && slope < Infinity)) throw new ArgumentError(argument, "a finite number of at least 0", slope);
}

interface HeadRows extends CausalRows {
  readonly query: Float64Array;
}

/** Sums [count, width] over keys, divided by exp(logScale). */
interface FadingSums {
  readonly sums: Float64Array;
  logScale: number;
}

/** phi(q_i) times the sums that row i meets, [rows, width], each row divided by exp(logScale). */
interface ScannedRows {
  readonly rows: Float64Array;
  readonly logScale: Float64Array;
}

/** Forward, a row's own key is among those that it meets; backward it is not, so that it counts once. */
function scan(rows: HeadRows, slope: number, state: FadingSums, direction: "forward" | "backward"): ScannedRows {
  const { query, weights, count, valueDim } = rows;
  const length = weights.length;
  const width = valueDim + 1;
  const met = new Float64Array(length * width);
  const logScale = new Float64Array(length);
  const { sums } = state;
  const add = (j: number): void => {
    const next = Math.max(state.logScale, rows.weights[j]!);
    addToSums(rows, j, j + 1, state.logScale, next, sums);
    state.logScale = next;
  };
  for (let step = 0; step < length; step++) {
    const i = direction === "forward" ? step : length - 1 - step;
    state.logScale -= slope;
    if (direction === "forward") add(i);
    attend(query, i, sums, count, met.subarray(i * width, (i + 1) * width));
    logScale[i] = state.logScale;
    if (direction === "backward") add(i);
  }
  return { rows: met, logScale };
}

/** The first width - 1 columns over the last one, of both scans together; 0 for a row that meets no key. */
function normalise(before: ScannedRows, behind: ScannedRows | undefined, width: number, out: Float64Array): void {
  for (const [i, logScale] of before.logScale.entries()) {
    const reference = Math.max(logScale, behind?.logScale[i] ?? -Infinity);
    if (reference === -Infinity) continue;
    const [own, other] = [rescale(logScale, reference), rescale(behind?.logScale[i] ?? -Infinity, reference)];
    const sum = (c: number): number =>
      own * before.rows[i * width + c]! + (other === 0 ? 0 : other * behind!.rows[i * width + c]!);
    const normaliser = sum(width - 1);
    if (normaliser === 0) continue;
    for (let c = 0; c < width - 1; c++) out[i * (width - 1) + c] = sum(c) / normaliser;
  }
}
