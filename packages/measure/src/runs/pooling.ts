import type { PoolingMode } from "@favor/checkpoints/node";

/**
 * Makes one vector of a text's token vectors; several ways are laid end to end.
 *
 * @param vectors - `[tokens, width]`, row-major, without padding; at least one token.
 * @returns `[modes.length * width]`.
 */
export function pooled(vectors: Float32Array, width: number, modes: readonly PoolingMode[]): Float64Array {
  const result = new Float64Array(modes.length * width);
  for (const [i, mode] of modes.entries()) poolInto(result.subarray(i * width, (i + 1) * width), vectors, mode);
  return result;
}

function poolInto(target: Float64Array, vectors: Float32Array, mode: PoolingMode): void {
  const width = target.length;
  const tokens = vectors.length / width;
  switch (mode) {
    case "cls":
      target.set(vectors.subarray(0, width));
      return;
    case "last":
      target.set(vectors.subarray(vectors.length - width));
      return;
    case "max":
      target.fill(-Infinity);
      for (const [i, value] of vectors.entries()) target[i % width] = Math.max(target[i % width]!, value);
      return;
    case "mean":
    case "mean-sqrt-length":
    case "weighted-mean": {
      const weightOf = (token: number): number => (mode === "weighted-mean" ? token + 1 : 1);
      const total = mode === "weighted-mean" ? (tokens * (tokens + 1)) / 2 : tokens;
      const divisor = mode === "mean-sqrt-length" ? Math.sqrt(tokens) : total;
      for (const [i, value] of vectors.entries()) target[i % width]! += value * weightOf(Math.floor(i / width));
      for (let i = 0; i < width; i++) target[i]! /= divisor;
    }
  }
}
