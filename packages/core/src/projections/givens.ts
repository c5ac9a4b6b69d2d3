import { cosSinTurn } from "../random/elementary.ts";
import { RandomStream, streamPurpose } from "../random/stream.ts";
import type { ProjectionDescription } from "./description.ts";
import type { ProjectionKernel } from "./kernel.ts";
import { drawNorms } from "./norms.ts";

/**
 * The Givens ORF of 2006.03555. Its blocks are products of d ceil(log2 d) rotations by a uniform angle in the plane of
 * two different random axes, after random signs, applied in O(d log d). Every block is orthogonal (earlier
 * implementations may draw the same axis twice, which is no rotation). Rows are scaled by {@link drawNorms}.
 */
export function givensProjection(description: ProjectionDescription): ProjectionKernel {
  const { count, dim } = description;
  const blocks = Math.ceil(count / dim);
  const rotations = dim === 1 ? 0 : ceilLog2(dim) * dim;
  const stream = new RandomStream({ ...description, purpose: streamPurpose.projection });
  const signs = new Float64Array(blocks * dim);
  const axes = new Uint32Array(2 * blocks * rotations);
  const turns = new Float64Array(2 * blocks * rotations);
  for (let block = 0; block < blocks; block++) {
    for (let i = 0; i < dim; i++) signs[block * dim + i] = stream.sign();
    for (let r = 0; r < rotations; r++) {
      const at = 2 * (block * rotations + r);
      const first = stream.integer(dim);
      // One of the other d - 1 axes: skipping `first` keeps the pair distinct and uniform.
      const other = stream.integer(dim - 1);
      axes[at] = first;
      axes[at + 1] = other < first ? other : other + 1;
      turns.set(cosSinTurn(stream.uniform()), at);
    }
  }
  const norms = drawNorms(description);
  const work = new Float64Array(dim);

  function project(x: Float64Array, start: number, out: Float64Array, target: number): void {
    for (let block = 0; block < blocks; block++) {
      for (let i = 0; i < dim; i++) work[i] = x[start + i]! * signs[block * dim + i]!;
      for (let at = 2 * block * rotations; at < 2 * (block + 1) * rotations; at += 2) {
        const i = axes[at]!;
        const j = axes[at + 1]!;
        const a = work[i]!;
        const b = work[j]!;
        work[i] = turns[at]! * a - turns[at + 1]! * b;
        work[j] = turns[at + 1]! * a + turns[at]! * b;
      }
      const first = block * dim;
      const rows = Math.min(dim, count - first);
      for (let row = 0; row < rows; row++) out[target + first + row] = work[row]! * norms[first + row]!;
    }
  }

  return {
    storage: signs.length + axes.length + turns.length + count,
    operations: blocks * (dim + 6 * rotations) + count,
    project,
  };
}

function ceilLog2(n: number): number {
  let levels = 0;
  for (let power = 1; power < n; power *= 2) levels++;
  return levels;
}
