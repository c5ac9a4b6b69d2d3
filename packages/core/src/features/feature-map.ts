import { ArgumentError } from "../errors.ts";
import type { FeatureMapDescription } from "./description.ts";

/** Features whose true value is `features * exp(logScale)`, so that neither over- nor underflows. */
export interface StabilizedFeatures {
  /** [rows, count] */
  readonly features: Float64Array;
  /** [rows], or one number for all rows where the function says so. */
  readonly logScale: Float64Array;
}

/**
 * A feature map phi with exp(q.k) ~ phi_q(q) . phi_k(k), or, for generalized, ELU and squared-ReLU maps, a kernel of
 * its own. The caller has multiplied q and k by d^(-1/4) each. All arrays are row-major.
 *
 * A NaN or an infinity in a row gives NaN in that row's features and nowhere else (a stabiliser passes over it).
 */
export interface FeatureMap {
  readonly description: FeatureMapDescription;
  /** d, the width of a query or key. */
  readonly dim: number;
  /** The width of phi. */
  readonly count: number;
  /** phi_q of x `[rows, dim]`: `[rows, count]`. May overflow; use the stabilised form for attention. */
  query(x: Float64Array): Float64Array;
  /** phi_k of x `[rows, dim]`: `[rows, count]`. */
  key(x: Float64Array): Float64Array;
  /** One `logScale` per row: it cancels in the normaliser of that row. */
  queryStabilized(x: Float64Array): StabilizedFeatures;
  /**
   * "all" (default): a single `logScale` for the call, which cancels in every normaliser; rows where `mask` `[rows]` is
   * 0 are left out of it and get features 0. "row": one for each row, that never looks at another key; causal use
   * rescales by it.
   */
  keyStabilized(x: Float64Array, options?: KeyStabilizerOptions): StabilizedFeatures;
  /**
   * The gradient with respect to x `[rows, dim]`, given `upstream` `[rows, count]`, the gradient with respect to
   * phi_q(x) exp(-logScale); logScale is a constant, [rows] or one number for all, default 0. Throws ArgumentError where
   * the map has no derivative that it knows.
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

/** Throws ArgumentError unless `featureMap` is a feature map: plain JavaScript may give its description, or nothing. */
export function requireFeatureMap(argument: string, featureMap: FeatureMap | undefined): void {
  const given: unknown = featureMap;
  if (typeof given === "object" && given !== null && "keyStabilized" in given) return;
  throw new ArgumentError(argument, "a feature map, as createFeatureMap makes it", given);
}
