/** Softmax attention over the whole matrix with a mask `allowed(i, j)`: the definition that a pattern is tested against. */
export function denseMaskedAttention(
  query: Float64Array,
  key: Float64Array,
  value: Float64Array,
  dim: number,
  scale: number,
  allowed: (i: number, j: number) => boolean,
): Float64Array {
  const queries = query.length / dim;
  const keys = key.length / dim;
  const valueDim = value.length / keys;
  const out = new Float64Array(queries * valueDim);
  for (let i = 0; i < queries; i++) {
    const weights = Array.from({ length: keys }, (_, j) => {
      let product = 0;
      for (let l = 0; l < dim; l++) product += query[i * dim + l]! * key[j * dim + l]!;
      return allowed(i, j) ? Math.exp(scale * product) : 0;
    });
    const total = weights.reduce((a, b) => a + b, 0);
    if (total === 0) continue;
    for (const [j, weight] of weights.entries()) {
      for (let c = 0; c < valueDim; c++) out[i * valueDim + c]! += (weight / total) * value[j * valueDim + c]!;
    }
  }
  return out;
}
