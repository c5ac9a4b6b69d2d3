/** What a selector sees of one head: a block of queries, and all keys, both scaled so that q.k is the logit. */
interface SelectorCase {
  readonly dim: number;
  readonly width: number;
  /** `[rows, dim]`. */
  readonly query: Float64Array;
  readonly key: Float64Array;
  /** `[count, dim]`: directions of the largest spread of keys within blocks, and of queries within groups of 16. */
  readonly keyDirections: Float64Array;
  readonly queryDirections: Float64Array;
}

export interface Selector {
  readonly name: string;
  /** Multiplications per query and key, as a share of d, for blocks of this width. */
  readonly cost: (width: number, dim: number) => number;
  /** One score per block of keys. */
  readonly scores: (selectorCase: SelectorCase) => Float64Array;
}

const dot = (a: Float64Array, i: number, b: Float64Array, j: number, dim: number): number => {
  let sum = 0;
  for (let l = 0; l < dim; l++) sum += a[i * dim + l]! * b[j * dim + l]!;
  return sum;
};

/** Means of every `size` consecutive rows. */
export function means(x: Float64Array, dim: number, size: number): Float64Array {
  const rows = Math.ceil(x.length / dim / size);
  const out = new Float64Array(rows * dim);
  for (let row = 0; row < rows; row++) {
    const part = x.subarray(row * size * dim, (row + 1) * size * dim);
    for (let i = 0; i < part.length; i++) out[row * dim + (i % dim)]! += (part[i]! * dim) / part.length;
  }
  return out;
}

/** Adds softmax(logs) to scores. */
function addSoftmax(logs: Float64Array, scores: Float64Array): void {
  const largest = logs.reduce((a, b) => Math.max(a, b), -Infinity);
  const weights = logs.map((log) => Math.exp(log - largest));
  const total = weights.reduce((a, b) => a + b, 0);
  for (let i = 0; i < logs.length; i++) scores[i]! += weights[i]! / total;
}

/** Sums exp over every `size` logs. */
function logSums(logs: Float64Array, size: number): Float64Array {
  return Float64Array.from({ length: Math.ceil(logs.length / size) }, (_, block) => {
    const part = logs.subarray(block * size, (block + 1) * size);
    const largest = part.reduce((a, b) => Math.max(a, b), -Infinity);
    return largest + Math.log(part.reduce((sum, log) => sum + Math.exp(log - largest), 0));
  });
}

/** Per row of `queries` the logs of blocks, softmax over blocks, summed. */
function summed(
  queries: Float64Array,
  dim: number,
  blocks: number,
  logsOf: (row: number) => Float64Array,
): Float64Array {
  const scores = new Float64Array(blocks);
  for (let row = 0; row < queries.length / dim; row++) addSoftmax(logsOf(row), scores);
  return scores;
}

const blocksOf = ({ key, dim, width }: SelectorCase): number => Math.ceil(key.length / dim / width);

/** Means of `group` queries against means of `size` keys; log-sum-exp over a block's means. */
export function averaged(group: number, size: number): Selector {
  return {
    name: `queries by ${group}, keys by ${size}`,
    cost: () => 1 / group / size,
    scores(given) {
      const { query, key, dim, width } = given;
      const [q, k] = [means(query, dim, group), means(key, dim, size)];
      const keys = k.length / dim;
      return summed(q, dim, blocksOf(given), (row) => {
        const logs = Float64Array.from({ length: keys }, (_, j) => dot(q, row, k, j, dim));
        return logSums(logs, width / size);
      });
    },
  };
}

/** Means of queries, and what their spread around it adds to exp(q.k) on average, along a few directions. */
export function spreadOfQueries(group: number, directions: number, size = 1, weight = 0.5): Selector {
  return {
    name: `queries by ${group} and their spread along ${directions}, keys by ${size}, x ${weight}`,
    cost: (_, dim) => ((1 / group) * (1 + directions / dim)) / size,
    scores(given) {
      const { query, dim, width, queryDirections } = given;
      const q = means(query, dim, group);
      const key = means(given.key, dim, size);
      const keys = key.length / dim;
      const squares = Float64Array.from({ length: keys * directions }, (_, i) => {
        const [j, r] = [Math.floor(i / directions), i % directions];
        return dot(key, j, queryDirections, r, dim) ** 2;
      });
      const variances = Float64Array.from({ length: (q.length / dim) * directions }, (_, i) => {
        const [row, r] = [Math.floor(i / directions), i % directions];
        const mean = dot(q, row, queryDirections, r, dim);
        let sum = 0;
        let count = 0;
        for (let at = row * group; at < Math.min(query.length / dim, (row + 1) * group); at++, count++) {
          sum += (dot(query, at, queryDirections, r, dim) - mean) ** 2;
        }
        return sum / count;
      });
      return summed(q, dim, blocksOf(given), (row) => {
        const logs = Float64Array.from({ length: keys }, (_, j) => {
          const spread = dot(variances, row, squares, j, directions);
          return dot(q, row, key, j, dim) + weight * spread;
        });
        return logSums(logs, width / size);
      });
    },
  };
}

/** The mean key of a block, and deviations or half the variance of q.k within it, from all or a few directions. */
export function spreadOfKeys(
  rule: "deviation" | "variance",
  weight: number,
  directions: number | "all",
  group = 1,
): Selector {
  const along = directions === "all" ? "full covariance" : `${directions} directions`;
  return {
    name: `queries by ${group}, mean key and ${weight} ${rule}, ${along}`,
    cost: (width, dim) => (directions === "all" ? dim / width : (1 + directions / dim) / width) / group,
    scores(given) {
      const { query, key, dim, width, keyDirections } = given;
      const q = means(query, dim, group);
      const blocks = blocksOf(given);
      const centre = means(key, dim, width);
      const projected = (x: Float64Array, row: number): Float64Array =>
        directions === "all"
          ? x.subarray(row * dim, (row + 1) * dim)
          : Float64Array.from({ length: directions }, (_, r) => dot(x, row, keyDirections, r, dim));
      const size = directions === "all" ? dim : directions;
      const centres = Array.from({ length: blocks }, (_, block) => projected(centre, block));
      const keys = Array.from({ length: key.length / dim }, (_, j) => projected(key, j));
      const variances = directions === "all" ? undefined : blockVariances(keys, centres, width, size);
      return summed(q, dim, blocks, (row) => {
        const along32 = projected(q, row);
        return Float64Array.from({ length: blocks }, (_, block) => {
          let variance = 0;
          if (variances) {
            for (let r = 0; r < size; r++) variance += along32[r]! ** 2 * variances[block * size + r]!;
          } else {
            const mean = dot(q, row, centre, block, dim);
            const end = Math.min(keys.length, (block + 1) * width);
            for (let j = block * width; j < end; j++) variance += (dot(q, row, key, j, dim) - mean) ** 2;
            variance /= end - block * width;
          }
          return dot(q, row, centre, block, dim) + weight * (rule === "deviation" ? Math.sqrt(variance) : variance);
        });
      });
    },
  };
}

function blockVariances(
  keys: readonly Float64Array[],
  centres: readonly Float64Array[],
  width: number,
  size: number,
): Float64Array {
  const variances = new Float64Array(centres.length * size);
  for (const [j, key] of keys.entries()) {
    const block = Math.floor(j / width);
    const rows = Math.min(keys.length, (block + 1) * width) - block * width;
    for (let r = 0; r < size; r++) variances[block * size + r]! += (key[r]! - centres[block]![r]!) ** 2 / rows;
  }
  return variances;
}

/** Means of the keys on either side of a block's mean, along 1 or 2 directions; log-sum-exp over these clusters. */
export function clustered(directions: number, group = 1): Selector {
  const clusters = 2 ** directions;
  return {
    name: `queries by ${group}, ${clusters} clusters of keys along ${directions} directions`,
    cost: (width) => clusters / width / group,
    scores(given) {
      const { query, key, dim, width, keyDirections } = given;
      const q = means(query, dim, group);
      const blocks = blocksOf(given);
      const centre = means(key, dim, width);
      const sums = new Float64Array(blocks * clusters * dim);
      const sizes = new Float64Array(blocks * clusters);
      for (let j = 0; j < key.length / dim; j++) {
        const block = Math.floor(j / width);
        let side = 0;
        for (let r = 0; r < directions; r++) {
          const above = dot(key, j, keyDirections, r, dim) > dot(centre, block, keyDirections, r, dim);
          side = 2 * side + Number(above);
        }
        const cluster = block * clusters + side;
        sizes[cluster]!++;
        for (let l = 0; l < dim; l++) sums[cluster * dim + l]! += key[j * dim + l]!;
      }
      return summed(q, dim, blocks, (row) => {
        const logs = Float64Array.from(sizes, (size, cluster) =>
          size === 0 ? -Infinity : Math.log(size) + dot(q, row, sums, cluster, dim) / size,
        );
        return logSums(logs, clusters);
      });
    },
  };
}

/** The best `share` of blocks by a cheap selector, these by a better one. */
export function hierarchical(cheap: Selector, better: Selector, share: number): Selector {
  return {
    name: `${better.name}, among the best ${share} by ${cheap.name}`,
    cost: (width, dim) => cheap.cost(width, dim) + share * better.cost(width, dim),
    scores(given) {
      const first = cheap.scores(given);
      const kept = new Set(
        [...first.keys()].toSorted((a, b) => first[b]! - first[a]!).slice(0, Math.ceil(share * first.length)),
      );
      return better.scores(given).map((score, block) => (kept.has(block) ? score : -Infinity));
    },
  };
}
