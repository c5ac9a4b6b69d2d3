import type { LinearInput, LinearShape } from "../../src/attention/linear-shape.ts";

/** Linear attention by its definition: the whole matrix phi(Q) phi(K)^T, masked, normalised, times V. O(L^2). */
export function denseLinearAttention(
  input: LinearInput,
  { heads, keyHeads = heads, queryRows, keyRows, count, valueDim }: LinearShape,
  causal = false,
): Float64Array {
  const out = new Float64Array(heads * queryRows * valueDim);
  for (let head = 0; head < heads; head++) {
    const keyHead = Math.floor((head * keyHeads) / heads);
    for (let i = 0; i < queryRows; i++) {
      const scores = Array.from({ length: causal ? i + 1 : keyRows }, (_, j) => {
        const key = keyHead * keyRows + j;
        let score = 0;
        for (let m = 0; m < count; m++) {
          score += input.query[(head * queryRows + i) * count + m]! * input.key[key * count + m]!;
        }
        return score * (input.keyMask?.[j] ?? 1) * Math.exp(input.keyLogScale?.[key] ?? 0);
      });
      const total = scores.reduce((sum, score) => sum + score, 0);
      if (total === 0) continue;
      for (let c = 0; c < valueDim; c++) {
        let sum = 0;
        for (const [j, score] of scores.entries()) {
          sum += score * input.value[(keyHead * keyRows + j) * valueDim + c]!;
        }
        out[(head * queryRows + i) * valueDim + c] = sum / total;
      }
    }
  }
  return out;
}
