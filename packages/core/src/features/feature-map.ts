import { ArgumentError } from "../errors.ts";
import type { FeatureMapDescription } from "./description.ts";

/** Features stored as `features`, whose true value is `features * exp(logScale)`; this avoids over- and underflow. */
export interface StabilizedFeatures {
  /** [rows, count] */
  readonly features: Float64Array;
  /** `[rows]`, or one number for all rows if the function says so. */
  readonly logScale: Float64Array;
}

/**
 * A feature map phi with exp(q.k) ~ phi_q(q) . phi_k(k); generalized, ELU and squared-ReLU maps estimate a kernel of
 * their own instead. Queries and keys come multiplied by d^(-1/4) (README, Scale). All arrays are row-major.
 *
 * NaN or infinity in a row gives NaN in the features of that row and nowhere else: stabilisers skip it.
 */
export interface FeatureMap {
  readonly description: FeatureMapDescription;
  /** d, the width of a query or key. */
  readonly dim: number;
  /** The width of phi. */
  readonly count: number;
  /** Whether g or h multiply the kernel of the description, as `withRowFactors` does. Default false. */
  readonly hasRowFactors?: boolean;
  /** phi_q of x `[rows, dim]`: `[rows, count]`. May overflow; use the stabilised form for attention. */
  query(x: Float64Array): Float64Array;
  /** phi_k of x `[rows, dim]`: `[rows, count]`. */
  key(x: Float64Array): Float64Array;
  /** One `logScale` per row: it cancels in the normaliser of that row. */
  queryStabilized(x: Float64Array): StabilizedFeatures;
  /**
   * "all" (default): one `logScale` for the call, which cancels in every normaliser. Rows where `mask` `[rows]` is 0 do
   * not count and get features 0. "row": one per row, which never looks at another key; causal attention needs this.
   */
  keyStabilized(x: Float64Array, options?: KeyStabilizerOptions): StabilizedFeatures;
  /**
   * log phi_q and log phi_k of x `[rows, dim]`: `[rows, count]`. Only exponential maps without a core and row factors have
   * them. Attention with them does not underflow where query and key are large in different features.
   */
  readonly logs?: Readonly<Record<"query" | "key", (x: Float64Array) => Float64Array>> | undefined;
  /**
   * The gradient with respect to x `[rows, dim]`.
   *
   * @param upstream `[rows, count]`, the gradient with respect to phi_q(x) exp(-logScale).
   * @param logScale A constant, `[rows]` or one number for all rows. Default 0.
   * @throws ArgumentError if the map does not know its derivative.
   */
  queryBackward(x: Float64Array, upstream: Float64Array, logScale?: Float64Array): Float64Array;
  /** As {@link queryBackward}, for phi_k. A row whose `logScale` is -Infinity (a hidden key) has gradient 0. */
  keyBackward(x: Float64Array, upstream: Float64Array, logScale?: Float64Array): Float64Array;
}

export interface KeyStabilizerOptions {
  readonly scope?: "all" | "row";
  /** [rows]; 0 hides a key, any other number shows it. */
  readonly mask?: ArrayLike<number>;
}

/**
 * @throws ArgumentError unless `featureMap` is a feature map: plain JavaScript may pass its description, or nothing.
 */
export function requireFeatureMap(argument: string, featureMap: FeatureMap | undefined): void {
  const given: unknown = featureMap;
  if (typeof given === "object" && given !== null && "keyStabilized" in given) return;
  throw new ArgumentError(argument, "a feature map, as createFeatureMap makes it", given);
}
