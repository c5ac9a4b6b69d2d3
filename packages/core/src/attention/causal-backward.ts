import { requireLayout, requireSize } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { addToSums, runningMaximum } from "./causal.ts";
import type { CausalRows } from "./causal.ts";
import { rescale } from "./causal-state.ts";
import { keyValueGradient, rowGradient } from "./linear-backward.ts";
import type { LinearGradients } from "./linear-backward.ts";
import { checkLinearInput, keyLogWeights, resolveShape } from "./linear-shape.ts";
import type { LinearInput, LinearShape } from "./linear-shape.ts";
import { requireOptions } from "../options.ts";

/**
 * Backward pass of {@link causalLinearAttention} from an empty state (2009.14794, appendix B.1).
 *
 * A forward sweep of prefix sums gives d phi(q_i) = [S_i z_i] G_i, with G_i as in {@link linearAttentionBackward}. A
 * backward sweep of suffix sums R_j = sum_{i>=j} phi(q_i) G_i^T gives d phi(k_j) and d v_j. Takes O(L M d) time and,
 * besides the result, O(M d + L d) memory: the rows G_i are kept between the sweeps.
 *
 * @param gradient Gradient of the loss with respect to the output, `[heads, rows, valueDim]`.
 * @param options.chunk Rows per chunk. Default 64; results depend on it only by rounding.
 * @throws ArgumentError if the arrays do not fit the shape.
 */
export function causalLinearAttentionBackward(
  input: LinearInput,
  shape: LinearShape,
  gradient: Float64Array,
  options: { readonly chunk?: number } = {},
): LinearGradients {
  const resolved = resolveShape(shape);
  const { heads, keyHeads, queryRows: rows, keyRows, count, valueDim, group } = resolved;
  if (rows !== keyRows) throw new ArgumentError("shape.keyRows", `queryRows (${rows}) in causal attention`, keyRows);
  checkLinearInput(input, resolved);
  requireLayout("gradient", gradient, "[heads, queryRows, valueDim]", heads * rows * valueDim);
  requireOptions("options", options, { chunk: true });
  const { chunk = 64 } = options;
  requireSize("options.chunk", chunk, 1);
  const weights = keyLogWeights(input, resolved);
  const gradients = {
    query: new Float64Array(input.query.length),
    key: new Float64Array(input.key.length),
    value: new Float64Array(input.value.length),
    keyLogScale: new Float64Array(keyHeads * rows),
  };
  const scales = new Float64Array(rows);
  for (let head = 0; head < heads; head++) {
    const keyHead = Math.floor(head / group);
    const keyRowsOf: CausalRows = {
      key: input.key.subarray(keyHead * rows * count, (keyHead + 1) * rows * count),
      value: input.value.subarray(keyHead * rows * valueDim, (keyHead + 1) * rows * valueDim),
      weights: weights.subarray(keyHead * rows, (keyHead + 1) * rows),
      count,
      valueDim,
    };
    runningMaximum(keyRowsOf.weights, 0, rows, -Infinity, scales);
    const query = input.query.subarray(head * rows * count, (head + 1) * rows * count);
    const queryGradient = gradients.query.subarray(head * rows * count, (head + 1) * rows * count);
    const upstream = gradient.subarray(head * rows * valueDim, (head + 1) * rows * valueDim);
    const rowGradients = sweepQueries(query, keyRowsOf, scales, upstream, queryGradient, chunk);
    const ofKeyHead: LinearGradients = {
      query: queryGradient,
      key: gradients.key.subarray(keyHead * rows * count, (keyHead + 1) * rows * count),
      value: gradients.value.subarray(keyHead * rows * valueDim, (keyHead + 1) * rows * valueDim),
      keyLogScale: gradients.keyLogScale.subarray(keyHead * rows, (keyHead + 1) * rows),
    };
    sweepKeys(query, keyRowsOf, scales, rowGradients, ofKeyHead);
  }
  return gradients;
}

/** The forward sweep: prefix sums row by row; fills d phi(q) and returns G, `[rows, valueDim + 1]`. */
function sweepQueries(
  query: Float64Array,
  keyRows: CausalRows,
  scales: Float64Array,
  gradient: Float64Array,
  queryGradient: Float64Array,
  chunk: number,
): Float64Array {
  const { key, value, weights, count, valueDim } = keyRows;
  const rows = scales.length;
  const width = valueDim + 1;
  const sums = new Float64Array(count * width);
  const rowGradients = new Float64Array(rows * width);
  const scores = new Float64Array(chunk);
  let past = -Infinity;
  for (let start = 0; start < rows; start += chunk) {
    const end = Math.min(rows, start + chunk);
    for (let i = start; i < end; i++) {
      const scale = scales[i]!;
      if (scale === -Infinity) continue;
      const row = rowGradients.subarray(i * width, (i + 1) * width);
      const fromPast = rescale(past, scale);
      for (let m = 0; m < count; m++) {
        const phi = fromPast * query[i * count + m]!;
        for (let c = 0; c < width; c++) row[c]! += phi * sums[m * width + c]!;
      }
      for (let j = start; j <= i; j++) {
        const weight = rescale(weights[j]!, scale);
        if (weight === 0) continue;
        let score = 0;
        for (let m = 0; m < count; m++) score += query[i * count + m]! * key[j * count + m]!;
        score *= weight;
        for (let c = 0; c < valueDim; c++) row[c]! += score * value[j * valueDim + c]!;
        row[valueDim]! += score;
      }
      if (row[valueDim] === 0) {
        row.fill(0);
        continue;
      }
      rowGradient(row, gradient, i);
      for (let j = start; j <= i; j++) {
        const weight = rescale(weights[j]!, scale);
        let score = row[valueDim]!;
        if (weight !== 0) for (let c = 0; c < valueDim; c++) score += row[c]! * value[j * valueDim + c]!;
        scores[j - start] = weight === 0 ? 0 : weight * score;
      }
      for (let m = 0; m < count; m++) {
        let sum = 0;
        for (let c = 0; c < width; c++) sum += sums[m * width + c]! * row[c]!;
        sum *= fromPast;
        for (let j = start; j <= i; j++) {
          if (scores[j - start] !== 0) sum += scores[j - start]! * key[j * count + m]!;
        }
        queryGradient[i * count + m] = sum;
      }
    }
    addToSums(keyRows, start, end, past, scales[end - 1]!, sums);
    past = scales[end - 1]!;
  }
  return rowGradients;
}

/**
 * The backward sweep: suffix sums of phi(q_i) G_i^T exp(scale_j - scale_i), which only shrink as j falls, since
 * the running maximum does; adds to d phi(k), d v and d log scale.
 */
function sweepKeys(
  query: Float64Array,
  keyRows: CausalRows,
  scales: Float64Array,
  rowGradients: Float64Array,
  into: LinearGradients,
): void {
  const { key, value, weights, count, valueDim } = keyRows;
  const width = valueDim + 1;
  const sums = new Float64Array(count * width);
  const input: LinearInput = { query, key, value };
  for (let j = scales.length - 1; j >= 0; j--) {
    const scale = scales[j]!;
    if (scale === -Infinity) return; // no key is seen at or before this row
    const next = scales[j + 1] ?? scale;
    if (next !== scale) {
      const factor = Math.exp(scale - next);
      for (let index = 0; index < sums.length; index++) sums[index]! *= factor;
    }
    for (let m = 0; m < count; m++) {
      const phi = query[j * count + m]!;
      for (let c = 0; c < width; c++) sums[m * width + c]! += phi * rowGradients[j * width + c]!;
    }
    const weight = rescale(weights[j]!, scale);
    if (weight !== 0) keyValueGradient(input, j, weight, sums, into);
  }
}
