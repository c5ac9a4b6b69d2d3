import { requireLayout } from "../checks.ts";
import { attend, keyValueSums, keyWeights } from "./linear.ts";
import { checkLinearInput, keyLogWeights, resolveShape } from "./linear-shape.ts";
import type { LinearInput, LinearShape } from "./linear-shape.ts";

/** Gradients of a scalar loss with respect to the arrays of a {@link LinearInput}, each in the layout of its array. */
export interface LinearGradients {
  readonly query: Float64Array;
  readonly key: Float64Array;
  readonly value: Float64Array;
  /** With respect to `keyLogScale`, which counts as 0 if not given. */
  readonly keyLogScale: Float64Array;
}

/**
 * Backward pass of {@link linearAttention}. Let n_i be the normaliser of row i and G_i = [g_i, -g_i.out_i] / n_i the
 * gradient of the unnormalised row [phi(q_i) S, phi(q_i) z]. Then
 *
 *     d phi(q_i) = [S z] G_i        d[S z] = sum_i phi(q_i) G_i^T
 *
 * and from d[S z] follow phi(k_j) and v_j. Takes O((L_q + L_k) M d) time. Besides the result it holds O(M d) numbers
 * and one per key.
 *
 * @param gradient Gradient of the loss with respect to the output, `[heads, queryRows, valueDim]`.
 * @throws ArgumentError if the arrays do not fit the shape.
 */
export function linearAttentionBackward(
  input: LinearInput,
  shape: LinearShape,
  gradient: Float64Array,
): LinearGradients {
  const resolved = resolveShape(shape);
  checkLinearInput(input, resolved);
  const { heads, keyHeads, queryRows, keyRows, count, valueDim, group } = resolved;
  requireLayout("gradient", gradient, "[heads, queryRows, valueDim]", heads * queryRows * valueDim);
  const width = valueDim + 1;
  const weights = keyWeights(keyLogWeights(input, resolved), keyHeads);
  const query = new Float64Array(input.query.length);
  const key = new Float64Array(input.key.length);
  const value = new Float64Array(input.value.length);
  const keyLogScale = new Float64Array(keyHeads * keyRows);
  const row = new Float64Array(width);
  for (let keyHead = 0; keyHead < keyHeads; keyHead++) {
    const sums = keyValueSums(input, resolved, weights, keyHead);
    const sumsGradient = new Float64Array(sums.length);
    for (let i = keyHead * group * queryRows; i < (keyHead + 1) * group * queryRows; i++) {
      if (attend(input.query, i, sums, count, row) === 0) continue;
      rowGradient(row, gradient, i);
      for (let m = 0; m < count; m++) {
        const phi = input.query[i * count + m]!;
        let sum = 0;
        for (let c = 0; c < width; c++) {
          sum += sums[m * width + c]! * row[c]!;
          sumsGradient[m * width + c]! += phi * row[c]!;
        }
        query[i * count + m] = sum;
      }
    }
    for (let j = keyHead * keyRows; j < (keyHead + 1) * keyRows; j++) {
      if (weights[j] !== 0) keyValueGradient(input, j, weights[j]!, sumsGradient, { query, key, value, keyLogScale });
    }
  }
  return { query, key, value, keyLogScale };
}

/** Turns an unnormalised row [numerator, normaliser], in place, into the loss's gradient with respect to it. */
export function rowGradient(row: Float64Array, gradient: Float64Array, i: number): void {
  const valueDim = row.length - 1;
  const normaliser = row[valueDim]!;
  let inner = 0;
  for (let c = 0; c < valueDim; c++) {
    const g = gradient[i * valueDim + c]! / normaliser;
    inner += g * (row[c]! / normaliser);
    row[c] = g;
  }
  row[valueDim] = -inner;
}

/** Given the gradient of sum_j weight_j phi(k_j) [v_j, 1], adds to the gradients of phi(k_j), v_j and log weight_j. */
export function keyValueGradient(
  input: LinearInput,
  j: number,
  weight: number,
  sumsGradient: Float64Array,
  into: LinearGradients,
): void {
  const count = input.key.length / into.keyLogScale.length;
  const valueDim = input.value.length / into.keyLogScale.length;
  const width = valueDim + 1;
  for (let m = 0; m < count; m++) {
    const phi = weight * input.key[j * count + m]!;
    let sum = sumsGradient[m * width + valueDim]!;
    for (let c = 0; c < valueDim; c++) {
      const g = sumsGradient[m * width + c]!;
      sum += g * input.value[j * valueDim + c]!;
      into.value[j * valueDim + c]! += phi * g;
    }
    into.key[j * count + m]! += weight * sum;
    into.keyLogScale[j]! += phi * sum;
  }
}
