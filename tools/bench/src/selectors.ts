/**
 * What selectors of blocks capture for their price, on the queries and keys of a model: the share of all attention that
 * goes to the chosen blocks, besides each block of queries' own block and its neighbours.
 *
 *   npm run build && npm run selectors -w @favor/bench -- MODEL DOCUMENTS.jsonl [--windows 4] [--length 4096]
 *
 * The first window gives the directions of spread; the others are measured, 16 blocks of queries of each. Prints a
 * Markdown table. The cost is in multiplications, as a share of those of Q K^T.
 */
import { parseArgs } from "node:util";
import { RandomStream, streamPurpose } from "@favor/core";
import { averaged, clustered, hierarchical, means, spreadOfKeys, spreadOfQueries } from "./selector-scores.ts";
import type { Selector } from "./selector-scores.ts";
import { tappedHeads } from "./tapped-heads.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    windows: { type: "string", default: "4" },
    length: { type: "string", default: "4096" },
    blocks: { type: "string", default: "16" },
  },
});
const [modelPath, documents] = positionals;
if (documents === undefined) throw new Error("usage: selectors MODEL DOCUMENTS.jsonl [--windows 4] [--length 4096]");
const [length, measuredBlocks] = [Number(values.length), Number(values.blocks)];

const settings = [
  { width: 32, chosen: 8 },
  { width: 64, chosen: 8 },
];
/** Cheap enough to go over all blocks at any length: a bound on candidates for a better one. */
const cheap = spreadOfKeys("deviation", 2, 8, 16);
const selectors: readonly Selector[] = [
  spreadOfKeys("deviation", 2, "all"),
  spreadOfKeys("deviation", 0, 1),
  spreadOfKeys("deviation", 2, 8),
  spreadOfKeys("deviation", 2, 8, 4),
  spreadOfKeys("deviation", 2, 16, 4),
  spreadOfKeys("deviation", 1, 16, 4),
  spreadOfKeys("variance", 0.5, 16, 4),
  cheap,
  averaged(4, 1),
  averaged(8, 1),
  averaged(16, 1),
  averaged(32, 1),
  averaged(16, 2),
  averaged(16, 4),
  averaged(8, 4),
  averaged(4, 8),
  averaged(1, 8),
  spreadOfQueries(16, 8, 1, 0.25),
  spreadOfQueries(16, 16, 1, 0.25),
  spreadOfQueries(16, 16, 1, 0.5),
  spreadOfQueries(32, 16, 1, 0.25),
  spreadOfQueries(16, 16, 4, 0.25),
  clustered(1),
  clustered(2),
  clustered(2, 4),
  clustered(3, 4),
  hierarchical(cheap, averaged(16, 1), 0.25),
  hierarchical(cheap, averaged(4, 1), 0.25),
  hierarchical(cheap, spreadOfQueries(16, 16, 1, 0.25), 0.25),
];

/** [selector][setting]: captured mass, summed; also the oracle's, as the last row, and how many rows. */
const captured = Array.from({ length: selectors.length + 1 }, () => settings.map(() => 0));
const farMass = settings.map(() => 0);
const rowsOf = settings.map(() => 0);
const random = new RandomStream({ seed: 0, purpose: streamPurpose.sampling });

/** The `count` directions of the largest spread of x around the means of groups, by subspace iteration. */
function directions(x: Float64Array, dim: number, group: number, count: number): Float64Array {
  const centre = means(x, dim, group);
  const covariance = new Float64Array(dim * dim);
  const row = new Float64Array(dim);
  for (let j = 0; j < x.length / dim; j++) {
    const at = Math.floor(j / group) * dim;
    for (let l = 0; l < dim; l++) row[l] = x[j * dim + l]! - centre[at + l]!;
    for (let a = 0; a < dim; a++) for (let b = 0; b < dim; b++) covariance[a * dim + b]! += row[a]! * row[b]!;
  }
  let basis = new RandomStream({ seed: 1, purpose: streamPurpose.sampling }).gaussians(count * dim);
  for (let step = 0; step < 60; step++) {
    const next = new Float64Array(count * dim);
    for (let r = 0; r < count; r++) {
      for (let a = 0; a < dim; a++) {
        for (let b = 0; b < dim; b++) next[r * dim + a]! += covariance[a * dim + b]! * basis[r * dim + b]!;
      }
      for (let s = 0; s < r; s++) {
        let inner = 0;
        for (let l = 0; l < dim; l++) inner += next[r * dim + l]! * next[s * dim + l]!;
        for (let l = 0; l < dim; l++) next[r * dim + l]! -= inner * next[s * dim + l]!;
      }
      const norm = Math.hypot(...next.subarray(r * dim, (r + 1) * dim));
      for (let l = 0; l < dim; l++) next[r * dim + l]! /= norm;
    }
    basis = next;
  }
  return basis;
}

/** The attention of each block of keys, summed over the queries `[rows, dim]`. */
function masses(query: Float64Array, key: Float64Array, dim: number, width: number): Float64Array {
  const keys = key.length / dim;
  const sums = new Float64Array(Math.ceil(keys / width));
  for (let row = 0; row < query.length / dim; row++) {
    const logits = new Float64Array(keys);
    let largest = -Infinity;
    for (let j = 0; j < keys; j++) {
      let sum = 0;
      for (let l = 0; l < dim; l++) sum += query[row * dim + l]! * key[j * dim + l]!;
      logits[j] = sum;
      largest = Math.max(largest, sum);
    }
    let total = 0;
    for (let j = 0; j < keys; j++) total += logits[j] = Math.exp(logits[j]! - largest);
    for (let j = 0; j < keys; j++) sums[Math.floor(j / width)]! += logits[j]! / total;
  }
  return sums;
}

const windows = await tappedHeads(modelPath!, documents, { windows: Number(values.windows), length });
for (const [head, { dim, query: q0, key: k0 }] of windows[0]!.entries()) {
  const queryDirections = directions(q0, dim, 16, 16);
  for (const [s, { width, chosen }] of settings.entries()) {
    const keyDirections = directions(k0, dim, width, 16);
    for (const window of windows.slice(1)) {
      const { query, key } = window[head]!;
      for (let i = 0; i < measuredBlocks; i++) {
        const block = random.integer(length / width);
        const rows = query.subarray(block * width * dim, (block + 1) * width * dim);
        const mass = masses(rows, key, dim, width);
        const far = [...mass.keys()].filter((each) => Math.abs(each - block) > 1);
        const take = (scores: Float64Array) =>
          far
            .toSorted((a, b) => scores[b]! - scores[a]!)
            .slice(0, chosen)
            .reduce((sum, each) => sum + mass[each]!, 0);
        rowsOf[s]! += width;
        farMass[s]! += far.reduce((sum, each) => sum + mass[each]!, 0);
        captured[selectors.length]![s]! += take(mass);
        for (const [n, { scores }] of selectors.entries()) {
          captured[n]![s]! += take(scores({ dim, width, query: rows, key, keyDirections, queryDirections }));
        }
      }
    }
  }
  process.stderr.write(`head ${head + 1} of ${windows[0]!.length}\n`);
}

const share = (sum: number, s: number): string => (sum / rowsOf[s]!).toFixed(4);
const dimOf = windows[0]![0]!.dim;
const titles = settings.map(({ width, chosen }) => `${chosen} of ${width}`);
console.log(`| selector | cost | ${titles.join(" | ")} |`);
console.log(`| --- | --- | ${titles.map(() => "---").join(" | ")} |`);
console.log(`| all far blocks | | ${settings.map((_, s) => share(farMass[s]!, s)).join(" | ")} |`);
console.log(`| oracle | 1 | ${settings.map((_, s) => share(captured[selectors.length]![s]!, s)).join(" | ")} |`);
for (const [n, { name, cost }] of selectors.entries()) {
  const price = cost(settings[0]!.width, dimOf).toFixed(4);
  console.log(`| ${name} | ${price} | ${settings.map((_, s) => share(captured[n]![s]!, s)).join(" | ")} |`);
}
