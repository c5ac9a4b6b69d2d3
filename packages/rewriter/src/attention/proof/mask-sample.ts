/**
 * What a mask does, read off its weights: exp(bias) of each (query, key), from several evaluations with different
 * inputs and lengths. Rows that attend to nothing are those of padding, or have no key that counts.
 */
export interface MaskSample {
  /** 1 where the largest weight of the row is; NaN in rows that attend to nothing: [groups, queries, keys]. */
  readonly weights: Float64Array;
  readonly groups: number;
  readonly queries: number;
  readonly keys: number;
}

/**
 * Below this a weight counts as masked: exp(-1e4) and exp(-1e9) are 0, and exp(-100) is negligible for any logits that
 * float32 keeps apart. exp(-30) is no mask: logits that lie further apart than that bring the key back.
 */
export const masked = 1e-36;

export const isMasked = (weight: number): boolean => weight < masked;
