import { checkLinearInput, keyLogWeights, resolveShape } from "./linear-shape.ts";
import type { LinearInput, LinearShape, ResolvedShape } from "./linear-shape.ts";
import { rescale } from "./causal-state.ts";

/**
 * Bidirectional linear attention over features, for self- and cross-attention (2009.14794, equation 4):
 *
 *     out = phi(Q) (phi(K)^T V) / phi(Q) (phi(K)^T 1)
 *
 * Takes O((L_q + L_k) M d) time. Besides its result it holds M (d + 1) numbers and one per key. A row with nothing to
 * attend to, because all keys are hidden or there are none, gives 0.
 *
 * @returns `[heads, queryRows, valueDim]`.
 * @throws ArgumentError if the arrays do not fit the shape.
 */
export function linearAttention(input: LinearInput, shape: LinearShape): Float64Array {
  const resolved = resolveShape(shape);
  checkLinearInput(input, resolved);
  const { heads, keyHeads, queryRows, count, valueDim, group } = resolved;
  const weights = keyWeights(keyLogWeights(input, resolved), keyHeads);
  const out = new Float64Array(heads * queryRows * valueDim);
  const row = new Float64Array(valueDim + 1);
  for (let keyHead = 0; keyHead < keyHeads; keyHead++) {
    const sums = keyValueSums(input, resolved, weights, keyHead);
    for (let i = keyHead * group * queryRows; i < (keyHead + 1) * group * queryRows; i++) {
      const normaliser = attend(input.query, i, sums, count, row);
      if (normaliser === 0) continue;
      for (let c = 0; c < valueDim; c++) out[i * valueDim + c] = row[c]! / normaliser;
    }
  }
  return out;
}

/**
 * exp(weight - the largest of the head), in place: one number per key, without over- or underflow; cancels in the
 * ratio.
 */
export function keyWeights(logWeights: Float64Array, keyHeads: number): Float64Array {
  const rows = logWeights.length / keyHeads;
  for (let head = 0; head < keyHeads; head++) {
    const ofHead = logWeights.subarray(head * rows, (head + 1) * rows);
    let maximum = -Infinity;
    for (const weight of ofHead) maximum = Math.max(maximum, weight);
    for (let row = 0; row < rows; row++) ofHead[row] = rescale(ofHead[row]!, maximum);
  }
  return logWeights;
}

/** `[count, valueDim + 1]`: sum_j weight_j phi(k_j) [v_j, 1] of one key head. */
export function keyValueSums(
  input: LinearInput,
  shape: ResolvedShape,
  weights: Float64Array,
  keyHead: number,
): Float64Array {
  const { keyRows, count, valueDim } = shape;
  const width = valueDim + 1;
  const sums = new Float64Array(count * width);
  for (let j = keyHead * keyRows; j < (keyHead + 1) * keyRows; j++) {
    const weight = weights[j]!;
    if (weight === 0) continue; // a hidden key's value may be anything, NaN too
    for (let m = 0; m < count; m++) {
      const phi = weight * input.key[j * count + m]!;
      for (let c = 0; c < valueDim; c++) sums[m * width + c]! += phi * input.value[j * valueDim + c]!;
      sums[m * width + valueDim]! += phi;
    }
  }
  return sums;
}

/** row = phi(q_i) sums, `[valueDim + 1]`; returns its last number, the normaliser. */
export function attend(query: Float64Array, i: number, sums: Float64Array, count: number, row: Float64Array): number {
  const width = row.length;
  row.fill(0);
  for (let m = 0; m < count; m++) {
    const phi = query[i * count + m]!;
    for (let c = 0; c < width; c++) row[c]! += phi * sums[m * width + c]!;
  }
  return row[width - 1]!;
}
