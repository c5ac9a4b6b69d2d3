import { normals } from "../features/samples.ts";

/** One head's queries and keys, `[rows, dim]`. */
export interface Sequence {
  readonly query: Float64Array;
  readonly key: Float64Array;
}

/** A peaked head: queries and keys share noisy prototypes, off-centre. */
export function sequences(number: number, length: number, seed: number, amplitude = 0.9): Sequence[] {
  const dim = 8;
  const prototypes = normals(12 * dim, 77, amplitude);
  return Array.from({ length: number }, (_, s) => {
    const noise = normals(2 * length * dim, seed + s, 0.35);
    const side = (offset: number, shift: number): Float64Array =>
      Float64Array.from({ length: length * dim }, (__, i) => {
        const row = Math.floor(i / dim);
        return prototypes[((row * 7 + offset + s) % 12) * dim + (i % dim)]! + noise[offset * length * dim + i]! + shift;
      });
    return { query: side(0, 0.5), key: side(1, -0.8) };
  });
}
