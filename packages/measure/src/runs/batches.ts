import type { ModelRunner } from "./runner.ts";

/** Indices of the sequences of one batch, and the length they are padded to. */
export interface Batch {
  readonly indices: readonly number[];
  readonly length: number;
}

/** Tokens per batch: enough for efficient matrix products, few enough for caches and memory. */
const tokensPerBatch = 2048;

/**
 * Groups sequences into batches of equal length, so that nothing is padded and no mask can distort a comparison. Models
 * with a fixed length or batch size get what they require.
 */
export function batchesOf(sequences: readonly { readonly ids: readonly number[] }[], runner: ModelRunner): Batch[] {
  const byLength = new Map<number, number[]>();
  for (const [index, { ids }] of sequences.entries()) {
    const length = runner.fixedLength ?? ids.length;
    const bucket = byLength.get(length);
    if (bucket === undefined) byLength.set(length, [index]);
    else bucket.push(index);
  }
  const batches: Batch[] = [];
  for (const [length, indices] of [...byLength].toSorted(([a], [b]) => a - b)) {
    const rows = runner.fixedBatch ?? Math.max(1, Math.floor(tokensPerBatch / length));
    for (let start = 0; start < indices.length; start += rows) {
      batches.push({ indices: indices.slice(start, start + rows), length });
    }
  }
  return batches;
}
