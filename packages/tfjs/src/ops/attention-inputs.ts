import { ArgumentError } from "@favor/core";
import * as tf from "@tensorflow/tfjs";

/** What every attention of this package takes besides query, key and value. */
export interface AttentionOptions {
  /**
   * Padding: `[batch, keys]`, bool, or numbers of which none is negative. Multiplies phi(K), numerator and denominator
   * alike: 0 hides a key and its value, whatever they hold. Default: all shown.
   */
  readonly mask?: tf.Tensor | undefined;
  /** Query i sees keys 0 to i; as many keys as queries. Default false. */
  readonly causal?: boolean | undefined;
  /** Multiplies q.k. Default dim^(-1/2). */
  readonly scale?: number | undefined;
}

export interface AttentionSizes {
  readonly batch: number;
  readonly heads: number;
  readonly queries: number;
  readonly keys: number;
  readonly dim: number;
  readonly valueDim: number;
  readonly scale: number;
}

/**
 * The sizes of query `[batch, heads, queries, dim]`, key `[batch, heads, keys, dim]` and value
 * `[batch, heads, keys, valueDim]`. Throws ArgumentError, naming the argument, where they disagree.
 */
export function attentionSizes(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, options: AttentionOptions): AttentionSizes {
  for (const [name, x] of Object.entries({ q, k, v })) {
    if (x.rank !== 4) throw new ArgumentError(name, "a tensor [batch, heads, length, dim]", `[${x.shape}]`);
    if (x.dtype !== "float32") throw new ArgumentError(name, "a float32 tensor", x.dtype);
  }
  const [batch, heads, queries, dim] = q.shape as [number, number, number, number];
  const [, , keys, valueDim] = v.shape as [number, number, number, number];
  requireShape("k", k, [batch, heads, keys, dim]);
  requireShape("v", v, [batch, heads, keys, valueDim]);
  const { causal = false, scale = dim ** -0.5 } = options;
  if (!(scale > 0) || scale === Infinity) throw new ArgumentError("scale", "a finite number greater than 0", scale);
  if (causal && queries !== keys) throw new ArgumentError("k", `${queries} keys in causal attention`, keys);
  return { batch, heads, queries, keys, dim, valueDim, scale };
}

/** Throws ArgumentError unless `x` has exactly `shape`. */
export function requireShape(name: string, x: tf.Tensor, shape: readonly number[]): void {
  if (!tf.util.arraysEqual(x.shape, [...shape])) throw new ArgumentError(name, `[${shape}]`, `[${x.shape}]`);
}
