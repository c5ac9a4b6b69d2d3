import { addTransposedProduct, multiply, multiplyTransposed } from "../linear-algebra/products.ts";

/** One input of a fit to attention with ALiBi. */
export interface FadingInput {
  /** `[queries, count]`. */
  readonly phiQuery: Float64Array;
  /** `[keys, count]`. */
  readonly phiKey: Float64Array;
  /** exp(-m |i - j|), 0 for keys that a query does not attend to, `[queries, keys]`. */
  readonly fade: Float64Array;
}

/**
 * The mean over the inputs of Phi_q^T (D^2 o (Phi_q C Phi_k^T)) Phi_k with D the fade: what the multiplicative updates of
 * P ~ D o (Phi_q C Phi_k^T) compare with Phi_q^T (D o P) Phi_k. The fade does not factor, so the entries are written out:
 * O(queries keys count) time.
 */
export function fadingPrediction(inputs: readonly FadingInput[], count: number): (core: Float64Array) => Float64Array {
  return (core) => {
    const sums = new Float64Array(count * count);
    for (const { phiQuery, phiKey, fade } of inputs) {
      const [queries, keys] = [phiQuery.length / count, phiKey.length / count];
      const joined = multiply(phiQuery, core, queries, count, count);
      const entries = multiplyTransposed(joined, phiKey, queries, count, keys);
      for (let at = 0; at < entries.length; at++) entries[at]! *= fade[at]! * fade[at]!;
      const predicted = multiply(entries, phiKey, queries, keys, count);
      addTransposedProduct(phiQuery, predicted, queries, count, count, sums);
    }
    return sums.map((sum) => sum / inputs.length);
  };
}
