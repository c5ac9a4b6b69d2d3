import { ArgumentError } from "../../errors.ts";
import { HEADROOM } from "./family.ts";
import type { FeatureFamily, FeatureTile } from "./family.ts";

/** phi_m = exp(|x|^2 / 2) cos(w_m.x + b_m): one maximum for all features, the largest |k|^2 / 2. */
export const trigonometricFamily: FeatureFamily = {
  isRelative: true,
  normSign: 1,
  isOwnDerivative: false,
  raiseMaximum({ heap, at, count }, first, rows) {
    let largest = heap[at.maximum]!;
    for (const log of heap.subarray(at.rowShift + first, at.rowShift + first + rows)) {
      if (log > largest && log < Infinity) largest = log;
    }
    heap.fill(largest, at.maximum, at.maximum + count);
  },
  endOfPiece({ heap, at }, first, chunk) {
    const limit = heap[at.maximum]! + HEADROOM;
    let row = first + 1;
    while (row < chunk && !(heap[at.rowShift + row]! > limit)) row++;
    return row;
  },
  finishKeys(tile, first, rows) {
    const { kernels, heap, at, countWidth } = tile;
    const block = at.keyFeatures + first * countWidth;
    const rowShift = at.rowShift + first;
    applyCosine(tile, block, rows);
    for (let row = rowShift; row < rowShift + rows; row++) heap[row] = Math.exp(heap[row]! + heap[at.keyShift]!);
    kernels.scaleRows(block, rowShift, rows, countWidth);
  },
  finishQueries(tile, rows) {
    const { heap, at } = tile;
    applyCosine(tile, at.queryFeatures, rows);
    // exp(|q|^2 / 2) cancels in the normaliser
    heap.fill(1, at.queryRowShift, at.queryRowShift + rows);
  },
  // -sin x = cos(x + pi / 2)
  makeSlopes({ kernels, countWidth }, slopes, slopePhase, rowShift, rows) {
    kernels.cosRows(slopes, slopePhase, rows, countWidth);
    kernels.scaleRows(slopes, rowShift, rows, countWidth);
  },
};

/** The largest w.x of which the kernels know the cosine, see `cosRows`; phases are within 2 pi. */
const largestAngle = 8192 - 2 * Math.PI;

/** @throws ArgumentError for an angle whose cosine would be an arbitrary number. */
function requireAngles(heap: Float32Array, from: number, to: number): void {
  for (let at = from; at < to; at++) {
    const size = Math.abs(heap[at]!);
    if (size <= largestAngle || !(size < Infinity)) continue;
    const expected = `so small that |w.x| is at most ${largestAngle.toFixed(0)} (float32 has no cosine beyond; positive features do)`;
    throw new ArgumentError("query or key", expected, `w.x = ${heap[at]!.toPrecision(4)}`);
  }
}

/** x = cos(x + phase) over a block `[rows, countWidth]`; padding columns become 0. */
function applyCosine({ kernels, heap, at, count, countWidth }: FeatureTile, block: number, rows: number): void {
  requireAngles(heap, block, block + rows * countWidth);
  kernels.cosRows(block, at.phase, rows, countWidth);
  if (count === countWidth) return;
  for (let row = block; row < block + rows * countWidth; row += countWidth) heap.fill(0, row + count, row + countWidth);
}
