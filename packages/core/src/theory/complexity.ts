import { requireInteger } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { requireOptions } from "../options.ts";
import type { OptionNames } from "../options.ts";

/** The attention methods that 2006.03555 compares. */
export type AttentionMethod = "exact" | "favor" | "lsh" | "sparse";

export interface ComplexityOptions {
  /** L, the number of queries and of keys. */
  readonly length: number;
  /** d, of queries, keys and values. */
  readonly dim: number;
  /** M, the number of features. Required for "favor". */
  readonly count?: number;
  readonly causal?: boolean;
  /** Tokens in a chunk of "lsh", default 64; stride of "sparse", default ceil(sqrt(L)). */
  readonly block?: number;
  /** Hash rounds of "lsh", default 1. */
  readonly rounds?: number;
}

export interface Complexity {
  /** Multiplications, each with its addition, to leading order. */
  readonly operations: number;
  /** Numbers held besides queries, keys, values and outputs, to leading order. */
  readonly memory: number;
}

const names: OptionNames<ComplexityOptions> = {
  length: true,
  dim: true,
  count: true,
  causal: true,
  block: true,
  rounds: true,
};

/**
 * Time and memory of one head's attention, to leading order with the constants of the plain algorithm (2006.03555,
 * section 2 and its comparison with 2001.04451 and 1904.10509). m is the block:
 *
 *     exact    2 L^2 d operations, L^2 numbers (half of both when causal)
 *     favor    4 L M d (projections 2 L M d, sums 2 L M d); 2 L M + M d; causal by prefix sums: the same, state M d
 *     lsh      rounds (L^2 d / m + 4 L m d): hashing into 2 L / m buckets of m / 2 tokens, then two chunks of m keys for each
 *              query; rounds L (2 m + 1). The first term is quadratic; the L log L of the papers leaves it out and counts the
 *              sorting
 *     sparse   2 L (2 m + L / m) d, causal 2 L (m + L / (2 m)) d: L^(3/2) for m = sqrt(L); a number for each key seen
 *
 * For "lsh" this is an upper bound: `lshAttention` leaves out keys of other buckets.
 *
 * @throws ArgumentError for an unknown method, a size out of range, or "favor" without a count.
 */
export function attentionComplexity(method: AttentionMethod, options: ComplexityOptions): Complexity {
  requireOptions("options", options, names, "{ length: 4096, dim: 64, count: 256 }");
  const { length, dim, count, causal = false, rounds = 1 } = options;
  const { block = method === "lsh" ? 64 : Math.max(1, Math.ceil(Math.sqrt(length))) } = options;
  requireInteger("options.length", length, 0, Number.MAX_SAFE_INTEGER);
  requireInteger("options.dim", dim, 1, 1 << 20);
  requireInteger("options.block", block, 1, Number.MAX_SAFE_INTEGER);
  requireInteger("options.rounds", rounds, 1, 1 << 20);
  switch (method) {
    case "exact": {
      const share = causal ? 0.5 : 1;
      return { operations: share * 2 * length ** 2 * dim, memory: share * length ** 2 };
    }
    case "favor": {
      if (count === undefined) throw new ArgumentError("options.count", "the number of features", count);
      requireInteger("options.count", count, 1, 1 << 20);
      return { operations: 4 * length * count * dim, memory: 2 * length * count + count * dim };
    }
    case "lsh": {
      const buckets = Math.max(2, (2 * length) / block);
      const seen = Math.min(length, 2 * block);
      return {
        operations: rounds * (length * dim * (buckets / 2) + 2 * length * seen * dim),
        memory: rounds * length * (seen + 1),
      };
    }
    case "sparse": {
      const seen = Math.min(length, (2 * block + length / block) * (causal ? 0.5 : 1));
      return { operations: 2 * length * seen * dim, memory: length * seen };
    }
    default:
      throw new ArgumentError("method", "exact, favor, lsh or sparse", method);
  }
}

/**
 * The length from which FAVOR with M = `count` needs fewer operations than exact attention: L = 2 M (4 M when causal).
 * @throws ArgumentError for a count that is not a whole number of at least 1.
 */
export function crossoverLength(count: number, options: { readonly causal?: boolean } = {}): number {
  requireInteger("count", count, 1, 1 << 20);
  requireOptions("options", options, { causal: true });
  return (options.causal ? 4 : 2) * count;
}
