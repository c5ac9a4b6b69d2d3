import { requireInteger, rowCount } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { exactAttentionNames } from "../attention/head-shape.ts";
import type { ExactAttentionOptions } from "../attention/head-shape.ts";
import { drawProjection } from "../projections/projection.ts";
import { attendSubset, subsetShape } from "./subset.ts";
import { requireOptions } from "../options.ts";
import type { OptionNames } from "../options.ts";

/** How tokens are hashed, and which of them may attend to each other. */
export interface LshHashing {
  /** Even. Default: two per 64 tokens, so that a bucket holds 32 on average. */
  readonly buckets?: number;
  /** m, the sorted tokens per chunk. Default: twice a bucket's average, as in the paper. */
  readonly chunk?: number;
  /** Hash rounds. More of them come closer to exact attention. Default 4. */
  readonly rounds?: number;
  readonly seed: number;
}

export interface LshAttentionOptions extends ExactAttentionOptions, LshHashing {}

type LshSubsetOptions = LshHashing & { readonly dim: number; readonly keyMask?: ArrayLike<number> };

const hashingNames: OptionNames<LshHashing> = { buckets: true, chunk: true, rounds: true, seed: true };

/**
 * Keys of shared-QK attention: k_j = q_j / |q_j| (2001.04451, section 2), times d^(-1/4) as all keys here (README, Scale),
 * `[rows, dim]`. A query of 0 gives a key of 0.
 *
 * @throws ArgumentError if the length is not a multiple of `dim`.
 */
export function sharedKeys(query: Float64Array, dim: number): Float64Array {
  requireInteger("dim", dim, 1, 1 << 20);
  rowCount("query", query, dim);
  const key = new Float64Array(query.length);
  for (let start = 0; start < query.length; start += dim) {
    const norm = Math.hypot(...query.subarray(start, start + dim)) * dim ** 0.25;
    for (let l = start; l < start + dim; l++) key[l] = norm === 0 ? 0 : query[l]! / norm;
  }
  return key;
}

/**
 * Reformer's LSH attention of one head in float64 (2001.04451, section 2), in which queries are also the keys ({@link
 * sharedKeys}). In every round each token gets the bucket h(x) = argmax [x R; -x R] with a Gaussian R. Tokens are
 * sorted by bucket, then by position, and cut into chunks. A token attends to the tokens of its bucket in its own chunk
 * and the one before (equation 5), over all rounds together with each token counted once (equation 8), and to itself
 * only if there is no other. Causal attention is restricted to earlier tokens. Time is O(rounds L (buckets / 2 + 2 chunk)
 * d); with the default of two buckets per 64 tokens, hashing is quadratic in L.
 *
 * With queries times d^(-1/4), logits are those of Reformer, q.k / (|k| sqrt(d)) of the layer's q and k = q. Keys are normalised, so
 * the layer's own q without that factor needs `scale` d^(-1/4), not d^(-1/2).
 *
 * Hidden tokens (`keyMask` 0) are not hashed, so padding moves no chunk; their rows are 0.
 *
 * @param query `[rows, dim]`, times d^(-1/4); also the keys.
 * @param value `[rows, valueDim]`.
 * @returns `[rows, valueDim]`.
 * @throws ArgumentError if shapes disagree, the number of buckets is odd, or a size is not a whole number.
 */
export function lshAttention(query: Float64Array, value: Float64Array, options: LshAttentionOptions): Float64Array {
  requireOptions("options", options, { ...exactAttentionNames, ...hashingNames }, "{ dim: 64, seed: 0 }");
  const { dim, keyMask, causal = false } = options;
  const key = sharedKeys(query, dim);
  const shape = subsetShape(query, key, value, options);
  const out = new Float64Array(shape.queries * shape.valueDim);
  const subsets = hashedSubsets(query, options);
  for (const [i, subset] of subsets.entries()) {
    const seen = causal ? subset.filter((j) => j < i) : subset;
    const shown = keyMask?.[i] !== 0;
    if (shown) attendSubset(query, key, value, i, seen.length > 0 ? seen : [i], keyMask, shape, out);
  }
  return out;
}

/**
 * For every token, the other tokens that hashing lets it meet, earlier and later, in no particular order. Causality and
 * the token itself are up to the caller. Hidden tokens meet none.
 *
 * @throws ArgumentError if the number of buckets is odd, or a size is not a whole number.
 */
export function lshSubsets(query: Float64Array, options: LshSubsetOptions): number[][] {
  requireOptions("options", options, { ...hashingNames, dim: true, keyMask: true }, "{ dim: 64, seed: 0 }");
  requireInteger("options.dim", options.dim, 1, 1 << 20);
  rowCount("query", query, options.dim);
  return hashedSubsets(query, options);
}

function hashedSubsets(query: Float64Array, options: LshSubsetOptions): number[][] {
  const { dim, keyMask, rounds = 4, seed } = options;
  const tokens = Array.from({ length: query.length / dim }, (_, i) => i).filter((i) => keyMask?.[i] !== 0);
  const { buckets = Math.max(2, 2 * Math.round(tokens.length / 64)) } = options;
  const { chunk = Math.max(1, Math.ceil((2 * tokens.length) / buckets)) } = options;
  requireInteger("options.rounds", rounds, 1, 1 << 16);
  requireInteger("options.buckets", buckets, 2, 1 << 24);
  requireInteger("options.chunk", chunk, 1, Number.MAX_SAFE_INTEGER);
  if (buckets % 2 !== 0) throw new ArgumentError("options.buckets", "an even number", buckets);
  const subsets = Array.from({ length: query.length / dim }, () => new Set<number>());
  for (let round = 0; round < rounds; round++) {
    const bucketOf = lshBuckets(query, { dim, buckets, seed, round });
    const sorted = tokens.toSorted((a, b) => bucketOf[a]! - bucketOf[b]! || a - b);
    for (const [position, i] of sorted.entries()) {
      const start = Math.floor(position / chunk) * chunk;
      for (const j of sorted.slice(Math.max(0, start - chunk), start + chunk)) {
        if (j !== i && bucketOf[i] === bucketOf[j]) subsets[i]!.add(j);
      }
    }
  }
  return subsets.map((subset) => [...subset]);
}

/**
 * Angular hashing: the bucket of each row of x `[rows, dim]` in one round, argmax of [x R; -x R] with a Gaussian R
 * `[dim, buckets / 2]`. Rows of the same direction share a bucket. The same seed gives the same R everywhere.
 *
 * @throws ArgumentError if the number of buckets is odd, or the length is not a multiple of `dim`.
 */
export function lshBuckets(
  x: Float64Array,
  options: { readonly dim: number; readonly buckets: number; readonly seed: number; readonly round: number },
): Int32Array {
  requireOptions("options", options, { dim: true, buckets: true, seed: true, round: true });
  const { dim, buckets, seed, round } = options;
  const half = buckets / 2;
  if (!Number.isInteger(half)) throw new ArgumentError("options.buckets", "an even number", buckets);
  const rows = rowCount("x", x, dim);
  const rotation = drawProjection({ kind: "iid", count: half, dim, seed, epoch: round });
  return Int32Array.from({ length: rows }, (_, row) => {
    let best = -Infinity;
    let bucket = 0;
    for (let b = 0; b < half; b++) {
      let product = 0;
      for (let l = 0; l < dim; l++) product += x[row * dim + l]! * rotation[b * dim + l]!;
      if (Math.abs(product) > best) {
        best = Math.abs(product);
        bucket = product > 0 ? b : b + half;
      }
    }
    return bucket;
  });
}
