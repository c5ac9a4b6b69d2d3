import { addTransposedProduct, multiply, multiplyTransposed } from "../linear-algebra/products.ts";

/** One input of a fit to what the exact keys leave out. */
export interface RemainderInput {
  /** `[queries, count]`. */
  readonly phiQuery: Float64Array;
  /** `[keys, count]`. */
  readonly phiKey: Float64Array;
  /** Per query the exact keys, as ranges [from, to, ...]. Consecutive queries that share an array are computed together. */
  readonly exact: readonly (readonly number[])[];
  /** How many keys each query attends to. */
  readonly attended: Uint32Array;
}

/** Below this share of the prediction over all keys, that over the remaining ones is rounding, and raised to it. */
const leastShare = 1e-10;

/**
 * The mean over the inputs of Phi_q^T (W o (Phi_q C Phi_k^T)) Phi_k, where W is 0 for exact keys and for those beyond
 * `attended`: the prediction over all keys, G_q C G_k, less the sum over the few that do not count. Takes O(queries
 * count (exact + attended's complement)) time.
 */
export function remainderPrediction(
  inputs: readonly RemainderInput[],
  count: number,
): (core: Float64Array) => Float64Array {
  const grams = inputs.map(({ phiQuery, phiKey }) => ({ query: gram(phiQuery, count), key: gram(phiKey, count) }));
  return (core) => {
    const whole = new Float64Array(count * count);
    const left = new Float64Array(count * count);
    for (const [i, { query, key }] of grams.entries()) {
      const product = multiplyTransposed(
        query,
        multiplyTransposed(key, core, count, count, count),
        count,
        count,
        count,
      );
      for (let at = 0; at < whole.length; at++) whole[at]! += product[at]!;
      addExcluded(inputs[i]!, core, count, left);
    }
    return whole.map((sum, at) => Math.max(sum - left[at]!, leastShare * sum) / inputs.length);
  };
}

function gram(phi: Float64Array, count: number): Float64Array {
  const out = new Float64Array(count * count);
  addTransposedProduct(phi, phi, phi.length / count, count, count, out);
  return out;
}

/** Adds Phi_q^T ((1 - W) o (Phi_q C Phi_k^T)) Phi_k to `sums`. */
function addExcluded(
  { phiQuery, phiKey, exact, attended }: RemainderInput,
  core: Float64Array,
  count: number,
  sums: Float64Array,
): void {
  const queries = exact.length;
  const keys = phiKey.length / count;
  const joined = multiply(phiQuery, core, queries, count, count);
  const predicted = new Float64Array(queries * count);
  /** Adds what the rows first..last get from the keys from..to. */
  const addRange = (first: number, last: number, from: number, to: number): void => {
    if (from === to) return;
    const [rows, width] = [last - first, to - from];
    const features = phiKey.subarray(from * count, to * count);
    const weights = multiplyTransposed(joined.subarray(first * count, last * count), features, rows, count, width);
    const sum = multiply(weights, features, rows, width, count);
    for (let at = 0; at < sum.length; at++) predicted[first * count + at]! += sum[at]!;
  };
  for (let first = 0; first < queries;) {
    const ranges = exact[first]!;
    let last = first + 1;
    while (last < queries && exact[last] === ranges && attended[last] === attended[first]) last++;
    for (let at = 0; at < ranges.length; at += 2) addRange(first, last, ranges[at]!, ranges[at + 1]!);
    addRange(first, last, attended[first]!, keys);
    first = last;
  }
  addTransposedProduct(phiQuery, predicted, queries, count, count, sums);
}
