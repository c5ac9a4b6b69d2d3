import { addTransposedProduct, multiplyTransposed, transpose } from "../linear-algebra/products.ts";
import type { CoreSystem } from "./non-negative-core.ts";
import type { SampledAttention } from "./sample-attention.ts";

/**
 * The sums of the fit P ~ Phi_q C Phi_k^T over the inputs of a sample. Takes the logs of Phi_q (each row minus the log
 * of softmax's normaliser) and of Phi_k, `[rows, count]` per input. The columns are scaled to unit mean square by the
 * factors exp(-queryLogScale_m) and exp(-keyLogScale_n).
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
  for (const [i, { attention }] of sample.entries()) {
    const phiQuery = logQueries[i]!.map((value, at) => Math.exp(value - queryLogScale[at % count]!));
    const phiKey = logKeys[i]!.map((value, at) => Math.exp(value - keyLogScale[at % count]!));
    const queries = phiQuery.length / count;
    const keys = phiKey.length / count;
    addTransposedProduct(phiQuery, phiQuery, queries, count, count, queryGram);
    addTransposedProduct(phiKey, phiKey, keys, count, count, keyGram);
    const attended = multiplyTransposed(attention, transpose(phiKey, keys, count), queries, keys, count);
    addTransposedProduct(phiQuery, attended, queries, count, count, target);
    norm += attention.reduce((sum, value) => sum + value * value, 0);
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
    },
    queryLogScale,
    keyLogScale,
  };
}

/** Half the log of the mean of exp(2 x) over the rows of all inputs, per column, `[count]`; 0 for a column of zeros. */
function logRootMeanSquares(logs: readonly Float64Array[], count: number): Float64Array {
  const largest = new Float64Array(count).fill(-Infinity);
  for (const log of logs) log.forEach((value, i) => (largest[i % count] = Math.max(largest[i % count]!, value)));
  const sums = new Float64Array(count);
  let rows = 0;
  for (const log of logs) {
    rows += log.length / count;
    for (let i = 0; i < log.length; i++) sums[i % count]! += Math.exp(2 * (log[i]! - largest[i % count]!));
  }
  return sums.map((sum, m) => (largest[m] === -Infinity ? 0 : largest[m]! + 0.5 * Math.log(sum / rows)));
}
