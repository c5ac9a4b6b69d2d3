import { addTransposedProduct, multiply, multiplyTransposed } from "../linear-algebra/products.ts";

/** One input of a fit to what the exact keys leave out. */
export interface RemainderInput {
  /** `[queries, count]`. */
  readonly phiQuery: Float64Array;
  /** `[keys, count]`. */
  readonly phiKey: Float64Array;
  /** Per query the exact keys, as ranges [from, to, ...]. */
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
  const addRange = (i: number, from: number, to: number): void => {
    const row = i * count;
    for (let key = from * count; key < to * count; key += count) {
      let weight = 0;
      for (let m = 0; m < count; m++) weight += joined[row + m]! * phiKey[key + m]!;
      for (let m = 0; m < count; m++) predicted[row + m]! += weight * phiKey[key + m]!;
    }
  };
  for (const [i, ranges] of exact.entries()) {
    for (let at = 0; at < ranges.length; at += 2) addRange(i, ranges[at]!, ranges[at + 1]!);
    addRange(i, attended[i]!, keys);
  }
  addTransposedProduct(phiQuery, predicted, queries, count, count, sums);
}
