import { exactAttentionNames, headShape } from "./head-shape.ts";
import type { ExactAttentionOptions } from "./head-shape.ts";
import { requireOptions } from "../options.ts";

/**
 * Softmax attention in float64, the reference implementation: softmax(scale Q K^T - slope |i - j|) V. Takes O(queries keys (dim +
 * valueDim)) time and O(keys) memory. A query that sees no key gives 0. Hidden keys and values are never read.
 *
 * @param query `[queries, dim]`, row-major.
 * @param key `[keys, dim]`, row-major.
 * @param value `[keys, valueDim]`, row-major.
 * @returns `[queries, valueDim]`, row-major.
 * @throws ArgumentError if shapes disagree.
 */
export function exactAttention(
  query: Float64Array,
  key: Float64Array,
  value: Float64Array,
  options: ExactAttentionOptions,
): Float64Array {
  requireOptions("options", options, exactAttentionNames, "{ dim: 64 }");
  const { dim, valueDim, scale, slope, queries, keys } = headShape(query, key, value, options);
  const { keyMask, causal = false } = options;
  const out = new Float64Array(queries * valueDim);
  const logits = new Float64Array(keys);
  for (let i = 0; i < queries; i++) {
    const seen = causal ? i + keys - queries + 1 : keys;
    let largest = -Infinity;
    for (let j = 0; j < seen; j++) {
      if (keyMask?.[j] === 0) continue;
      let logit = 0;
      for (let l = 0; l < dim; l++) logit += query[i * dim + l]! * key[j * dim + l]!;
      logits[j] = scale * logit - slope * Math.abs(i + keys - queries - j);
      largest = Math.max(largest, logits[j]!);
    }
    if (largest === -Infinity) continue;
    let normaliser = 0;
    for (let j = 0; j < seen; j++) {
      if (keyMask?.[j] === 0) continue;
      const weight = (keyMask?.[j] ?? 1) * Math.exp(logits[j]! - largest);
      normaliser += weight;
      for (let l = 0; l < valueDim; l++) out[i * valueDim + l]! += weight * value[j * valueDim + l]!;
    }
    for (let l = 0; l < valueDim; l++) out[i * valueDim + l]! /= normaliser;
  }
  return out;
}
