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
 * `attended`: the prediction over all keys, G_q C G_k, less the sum over the few that do not count. Rows that share these
 * keys need them only once, as Phi_e^T Phi_e; so a prediction takes O(queries count^2) time for them, and O(queries count
 * (exact + attended's complement)) for rows that share them with few others.
 */
export function remainderPrediction(
  inputs: readonly RemainderInput[],
  count: number,
): (core: Float64Array) => Float64Array {
  const grams = inputs.map(({ phiQuery, phiKey }) => ({ query: gram(phiQuery, count), key: gram(phiKey, count) }));
  const groups = inputs.map((input) => rowGroups(input, count));
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
      addExcluded(inputs[i]!, groups[i]!, core, count, left);
    }
    return whole.map((sum, at) => Math.max(sum - left[at]!, leastShare * sum) / inputs.length);
  };
}

/** Phi^T Phi. */
function gram(phi: Float64Array, count: number): Float64Array {
  const out = new Float64Array(count * count);
  addTransposedProduct(phi, phi, phi.length / count, count, count, out);
  return out;
}

/** The rows first..last, which leave out the same keys. */
interface RowGroup {
  readonly first: number;
  readonly last: number;
  /** The keys, as ranges [from, to, ...]. */
  readonly excluded: readonly number[];
  /** Phi_e^T Phi_e of these keys; undefined for few rows, which it would not pay for. */
  readonly gram: Float64Array | undefined;
}

/** So many rows pay for a Gram matrix within a few predictions. */
const enoughRows = 4;

function rowGroups({ phiKey, exact, attended }: RemainderInput, count: number): RowGroup[] {
  const keys = phiKey.length / count;
  const groups: RowGroup[] = [];
  for (let first = 0; first < exact.length;) {
    let last = first + 1;
    while (last < exact.length && exact[last] === exact[first] && attended[last] === attended[first]) last++;
    const excluded = [...exact[first]!, attended[first]!, keys];
    const features = (at: number): Float64Array => phiKey.subarray(excluded[at]! * count, excluded[at + 1]! * count);
    let sums: Float64Array | undefined;
    if (last - first >= enoughRows) {
      sums = new Float64Array(count * count);
      for (let at = 0; at < excluded.length; at += 2) {
        const phi = features(at);
        addTransposedProduct(phi, phi, phi.length / count, count, count, sums);
      }
    }
    groups.push({ first, last, excluded, gram: sums });
    first = last;
  }
  return groups;
}

/** Adds Phi_q^T ((1 - W) o (Phi_q C Phi_k^T)) Phi_k to `sums`. */
function addExcluded(
  { phiQuery, phiKey }: RemainderInput,
  groups: readonly RowGroup[],
  core: Float64Array,
  count: number,
  sums: Float64Array,
): void {
  const queries = phiQuery.length / count;
  const joined = multiply(phiQuery, core, queries, count, count);
  const predicted = new Float64Array(queries * count);
  for (const { first, last, excluded, gram: shared } of groups) {
    const [rows, own] = [last - first, joined.subarray(first * count, last * count)];
    if (shared !== undefined) {
      // The Gram matrix is symmetric.
      predicted.set(multiplyTransposed(own, shared, rows, count, count), first * count);
      continue;
    }
    for (let at = 0; at < excluded.length; at += 2) {
      const [from, to] = [excluded[at]!, excluded[at + 1]!];
      if (from === to) continue;
      const features = phiKey.subarray(from * count, to * count);
      const weights = multiplyTransposed(own, features, rows, count, to - from);
      const sum = multiply(weights, features, rows, to - from, count);
      for (let i = 0; i < sum.length; i++) predicted[first * count + i]! += sum[i]!;
    }
  }
  addTransposedProduct(phiQuery, predicted, queries, count, count, sums);
}
