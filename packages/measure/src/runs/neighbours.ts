import { bootstrap, ratio } from "./bootstrap.ts";
import type { Estimate } from "../numbers/intervals.ts";
import { rankCorrelation } from "./rank-correlation.ts";
import { dot } from "./vectors.ts";

/** Whether a search among the texts finds the same with two models. */
export interface NeighbourComparison {
  /** Texts whose neighbours were compared. */
  readonly texts: number;
  /** Share of the texts whose nearest neighbour in the converted model is the nearest in the original, too. */
  readonly kept: Estimate;
  /** Spearman's rank correlation of the similarities of all pairs; absent if all pairs of one model are alike. */
  readonly rankCorrelation?: number;
}

/** The most texts whose pairs are compared: half a million pairs. */
const mostTexts = 1000;

/** Texts whose similarities differ by less are equally near: the same text twice, for example. */
const tie = 1e-6;

/**
 * Compares which texts are near each other in two models. Of more than 1,000 texts, 1,000 at equal distances are taken.
 *
 * @param before - the original's embeddings, one per text.
 * @param after - the converted model's, in the same order.
 * @param seed - seed of the interval.
 * @returns undefined for fewer than three texts.
 */
export function compareNeighbours(
  before: readonly Float64Array[],
  after: readonly Float64Array[],
  similarity: "cosine" | "dot",
  seed: number,
): NeighbourComparison | undefined {
  const texts = Math.min(before.length, mostTexts);
  if (texts < 3) return undefined;
  const taken = Array.from({ length: texts }, (_, i) => Math.floor((i * before.length) / texts));
  const [original, converted] = [before, after].map((embeddings) => similarities(embeddings, taken, similarity));
  const sums = new Float64Array(2 * texts);
  for (let text = 0; text < texts; text++) {
    const row = original!.subarray(text * texts, (text + 1) * texts);
    const found = nearest(converted!.subarray(text * texts, (text + 1) * texts), text);
    const most = row[nearest(row, text)]!;
    const isKept = row[found]! >= most - tie * Math.max(1, Math.abs(most));
    sums.set([1, Number(isKept)], 2 * text);
  }
  const correlation = rankCorrelation(pairsOf(original!, texts), pairsOf(converted!, texts));
  return {
    texts,
    kept: bootstrap(sums, 2, ratio, seed),
    ...(correlation !== undefined && { rankCorrelation: correlation }),
  };
}

/** `[texts, texts]`: how similar each pair is. */
function similarities(
  embeddings: readonly Float64Array[],
  taken: readonly number[],
  similarity: "cosine" | "dot",
): Float64Array {
  const vectors = taken.map((index) => {
    const vector = embeddings[index]!;
    const length = similarity === "dot" ? 1 : Math.sqrt(dot(vector, vector));
    return length === 0 ? vector : vector.map((value) => value / length);
  });
  const texts = vectors.length;
  const found = new Float64Array(texts * texts);
  for (let i = 0; i < texts; i++) {
    for (let j = 0; j <= i; j++) found[i * texts + j] = found[j * texts + i] = dot(vectors[i]!, vectors[j]!);
  }
  return found;
}

/** The most similar text, except `own`. */
function nearest(row: Float64Array, own: number): number {
  let best = own === 0 ? 1 : 0;
  for (const [at, value] of row.entries()) if (at !== own && value > row[best]!) best = at;
  return best;
}

/** The part below the diagonal, row by row. */
function pairsOf(matrix: Float64Array, texts: number): Float64Array {
  const pairs = new Float64Array((texts * (texts - 1)) / 2);
  for (let i = 1, at = 0; i < texts; at += i, i++) pairs.set(matrix.subarray(i * texts, i * texts + i), at);
  return pairs;
}
