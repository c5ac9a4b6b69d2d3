import { addTransposedProduct, multiplyTransposed, transpose } from "../linear-algebra/products.ts";
import { fadingPrediction } from "./fading-prediction.ts";
import type { FadingInput } from "./fading-prediction.ts";
import { remainderPrediction } from "./remainder.ts";
import type { RemainderInput } from "./remainder.ts";
import type { CoreSystem } from "./non-negative-core.ts";
import { forEachOther } from "./exact-ranges.ts";
import type { SampledAttention } from "./sample-attention.ts";

/**
 * The sums of the fit P ~ Phi_q C Phi_k^T over the inputs of a sample. Takes the logs of Phi_q (each row minus the log
 * of softmax's normaliser) and of Phi_k, `[rows, count]` per input, and overwrites them. The columns are scaled to unit mean square by the
 * factors exp(-queryLogScale_m) and exp(-keyLogScale_n).
 *
 * Where keys are exact, only the other entries of P count, on both sides of the fit. With ALiBi the fit is that of P ~ D o
 * (Phi_q C Phi_k^T), D = exp(-m |i - j|).
 */
export function coreSystem(
  sample: readonly SampledAttention[],
  count: number,
  logQueries: readonly Float64Array[],
  logKeys: readonly Float64Array[],
): { system: CoreSystem; queryLogScale: Float64Array; keyLogScale: Float64Array } {
  const queryLogScale = logRootMeanSquares(logQueries, count);
  const keyLogScale = logRootMeanSquares(logKeys, count);
  const queryGram = new Float64Array(count * count);
  const keyGram = new Float64Array(count * count);
  const target = new Float64Array(count * count);
  let norm = 0;
  const remainders: RemainderInput[] = [];
  const fading: FadingInput[] = [];
  for (const [i, { attention: whole, exact, attended, fade, rowWeight }] of sample.entries()) {
    const attention = exact ? withoutExact(whole, exact, attended, rowWeight) : whole;
    const phiQuery = exponentials(logQueries[i]!, queryLogScale);
    if (exact) scaleRows(phiQuery, count, rowWeight);
    const phiKey = exponentials(logKeys[i]!, keyLogScale);
    const queries = phiQuery.length / count;
    const keys = phiKey.length / count;
    addTransposedProduct(phiQuery, phiQuery, queries, count, count, queryGram);
    addTransposedProduct(phiKey, phiKey, keys, count, count, keyGram);
    const targets = fade ? attention.map((p, at) => p * fade[at]!) : attention;
    const attendedKeys = multiplyTransposed(targets, transpose(phiKey, keys, count), queries, keys, count);
    addTransposedProduct(phiQuery, attendedKeys, queries, count, count, target);
    norm += attention.reduce((sum, value) => sum + value * value, 0);
    if (exact) remainders.push({ phiQuery, phiKey, exact, attended });
    if (fade) fading.push({ phiQuery, phiKey, fade });
  }
  const inputs = sample.length;
  const mean = (sums: Float64Array): Float64Array => sums.map((value) => value / inputs);
  return {
    system: {
      count,
      queryGram: mean(queryGram),
      keyGram: mean(keyGram),
      target: mean(target),
      norm: norm / inputs,
      ...(remainders.length > 0 && { predict: remainderPrediction(remainders, count) }),
      ...(fading.length > 0 && { predict: fadingPrediction(fading, count) }),
    },
    queryLogScale,
    keyLogScale,
  };
}

/** Multiplies row i by the root of its weight, which makes the squared error of a row count with that weight. */
function scaleRows(x: Float64Array, width: number, rowWeight: Float64Array): void {
  for (let at = 0; at < x.length; at++) x[at]! *= Math.sqrt(rowWeight[Math.floor(at / width)]!);
}

/** P, with the entries of exact keys set to 0, and rows scaled like those of the features. */
function withoutExact(
  attention: Float64Array,
  exact: readonly (readonly number[])[],
  attended: Uint32Array,
  rowWeight: Float64Array,
): Float64Array {
  const remaining = new Float64Array(attention.length);
  const keys = attention.length / attended.length;
  for (const [i, ranges] of exact.entries()) {
    forEachOther(ranges, attended[i]!, (j) => (remaining[i * keys + j] = attention[i * keys + j]!));
  }
  scaleRows(remaining, keys, rowWeight);
  return remaining;
}

/** exp(logs - scale), the scales per column, in place: these are the largest arrays of a fit. */
function exponentials(logs: Float64Array, scale: Float64Array): Float64Array {
  const count = scale.length;
  for (let row = 0; row < logs.length; row += count) {
    for (let m = 0; m < count; m++) logs[row + m] = Math.exp(logs[row + m]! - scale[m]!);
  }
  return logs;
}

/** Half the log of the mean of exp(2 x) over the rows of all inputs, per column, `[count]`; 0 for a column of zeros. */
function logRootMeanSquares(logs: readonly Float64Array[], count: number): Float64Array {
  const largest = new Float64Array(count).fill(-Infinity);
  const sums = new Float64Array(count);
  let rows = 0;
  for (const log of logs) {
    rows += log.length / count;
    for (let row = 0; row < log.length; row += count) {
      for (let m = 0; m < count; m++) largest[m] = Math.max(largest[m]!, log[row + m]!);
    }
  }
  for (const log of logs) {
    for (let row = 0; row < log.length; row += count) {
      for (let m = 0; m < count; m++) sums[m]! += Math.exp(2 * (log[row + m]! - largest[m]!));
    }
  }
  return sums.map((sum, m) => (largest[m] === -Infinity ? 0 : largest[m]! + 0.5 * Math.log(sum / rows)));
}
