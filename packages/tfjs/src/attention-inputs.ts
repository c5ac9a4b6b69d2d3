import { ArgumentError, requireOptions } from "@favor/core";
import type { OptionNames } from "@favor/core";
import * as tf from "@tensorflow/tfjs-core";

/** The options that every attention of this package takes, besides query, key and value. */
export interface AttentionOptions {
  /**
   * Padding mask `[batch, keys]` of booleans, or of the numbers 1 to show a key and 0 to hide it. A hidden key and its value
   * change nothing, even if they hold NaN. Other numbers are refused on cpu, wasm and tfjs-node. On webgl and webgpu, where
   * checking them would wait for the device, FAVOR multiplies phi(k) by them, and softmax attention takes them for 1. Default:
   * all shown.
   */
  readonly mask?: tf.Tensor | undefined;
  /** Query i sees the keys 0..i; needs as many keys as queries. Default false. */
  readonly causal?: boolean | undefined;
  /** Multiplies q.k. Default dim^(-1/2). */
  readonly scale?: number | undefined;
}

/** The names of {@link AttentionOptions}. */
export const attentionNames: OptionNames<AttentionOptions> = { mask: true, causal: true, scale: true };

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
 * Checks that `x` is a tensor that has not been disposed of. Plain JavaScript may pass an array, or nothing, and tfjs'
 * own message then names neither the argument nor the cause.
 *
 * @throws ArgumentError otherwise.
 */
export function requireTensor(name: string, x: tf.Tensor, layout: string): void {
  const given: unknown = x;
  if (!(given instanceof tf.Tensor)) throw new ArgumentError(name, `a tensor ${layout}`, given);
  if (given.isDisposed) throw new ArgumentError(name, `a tensor ${layout}`, "a disposed tensor");
}

/** Backends that keep numbers in this machine's memory; on others, reading them would wait for the device. */
const hostBackends: ReadonlySet<string> = new Set(["cpu", "wasm", "tensorflow"]);

/** The numbers of `x` if reading them is free, else undefined. */
export function numbersOnHost(x: tf.Tensor): ArrayLike<number> | undefined {
  return hostBackends.has(tf.getBackend()) ? x.dataSync() : undefined;
}

/**
 * Checks that `mask` is a tensor of booleans, or of zeros and ones. The numbers are checked on cpu, wasm and tfjs-node.
 *
 * @throws ArgumentError otherwise.
 */
function requireMask(mask: tf.Tensor): void {
  requireTensor("mask", mask, "[batch, keys]");
  if (mask.dtype === "bool") return;
  if (mask.dtype !== "float32" && mask.dtype !== "int32")
    throw new ArgumentError("mask", "bool or numbers", mask.dtype);
  const wrong = Array.prototype.find.call(numbersOnHost(mask) ?? [], (weight: number) => weight !== 0 && weight !== 1);
  if (wrong === undefined) return;
  throw new ArgumentError("mask", "0 to hide a key, 1 to show it (not a mask that is added to scores)", wrong);
}

/**
 * The sizes of query `[batch, heads, queries, dim]`, key `[batch, heads, keys, dim]` and value `[batch, heads, keys,
 * valueDim]`.
 *
 * @param names Of all options of the attention.
 * @param elsewhere The attention that has an option which this one does not have.
 * @throws ArgumentError, naming the argument, if they disagree; FavorError `unknown-option`.
 */
export function attentionSizes<Options extends AttentionOptions>(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  options: Options,
  names: OptionNames<Options>,
  elsewhere: Readonly<Record<string, string>>,
): AttentionSizes {
  requireOptions("options", options, names, "{ causal: true }", elsewhere);
  for (const [name, x] of Object.entries({ q, k, v })) {
    requireTensor(name, x, "[batch, heads, length, dim]");
    if (x.rank !== 4) throw new ArgumentError(name, "a tensor [batch, heads, length, dim]", `[${x.shape}]`);
    if (x.dtype !== "float32") throw new ArgumentError(name, "a float32 tensor", x.dtype);
  }
  const [batch, heads, queries, dim] = q.shape as [number, number, number, number];
  const [, , keys, valueDim] = v.shape as [number, number, number, number];
  requireShape("k", k, [batch, heads, keys, dim]);
  requireShape("v", v, [batch, heads, keys, valueDim]);
  const { causal = false, scale = dim ** -0.5 } = options;
  if (typeof scale !== "number" || !(scale > 0) || scale === Infinity)
    throw new ArgumentError("scale", "a finite number greater than 0", scale);
  if (options.mask) requireMask(options.mask);
  if (causal && queries !== keys) throw new ArgumentError("k", `${queries} keys in causal attention`, keys);
  return { batch, heads, queries, keys, dim, valueDim, scale };
}

/** Whether there is no query, key or value, nor anything to compute. */
export function isEmpty({ batch, heads, queries, keys, dim, valueDim }: AttentionSizes): boolean {
  return batch * heads * queries * keys * dim * valueDim === 0;
}

/** @throws ArgumentError unless `x` has exactly `shape`. */
export function requireShape(name: string, x: tf.Tensor, shape: readonly number[]): void {
  if (!tf.util.arraysEqual(x.shape, [...shape])) throw new ArgumentError(name, `[${shape}]`, `[${x.shape}]`);
}
