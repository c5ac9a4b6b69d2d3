import { HEADROOM } from "./family.ts";
import type { FeatureFamily, FeatureTile } from "./family.ts";
import { NO_MAXIMUM } from "./rows.ts";

/** phi_m = exp(log phi_m). Each feature is held relative to its own maximum, or all to one if a core mixes them. */
export const exponentialFamily: FeatureFamily = {
  isRelative: true,
  normSign: -1,
  isOwnDerivative: true,
  raiseMaximum({ kernels, heap, at, count, countWidth, hasCore }, first, rows) {
    kernels.columnMaximum(at.maximum, at.keyFeatures + first * countWidth, at.rowShift + first, rows, countWidth);
    if (!hasCore) return;
    const largest = heap.subarray(at.maximum, at.maximum + count).reduce((a, b) => Math.max(a, b));
    heap.fill(largest, at.maximum, at.maximum + count);
  },
  endOfPiece({ kernels, heap, at, count, countWidth }, first, chunk) {
    const next = first + 1;
    for (let m = 0; m < count; m++) heap[at.limit + m] = heap[at.maximum + m]! + HEADROOM;
    heap.fill(Infinity, at.limit + count, at.limit + countWidth);
    const block = at.keyFeatures + next * countWidth;
    return next + kernels.firstRowAbove(at.limit, block, at.rowShift + next, chunk - next, countWidth);
  },
  finishKeys({ kernels, at, countWidth }, first, rows) {
    kernels.expRows(at.keyFeatures + first * countWidth, at.rowShift + first, at.keyShift, rows, countWidth);
  },
  finishQueries({ kernels, heap, at, countWidth }: FeatureTile, rows) {
    const { queryFeatures, queryRowShift } = at;
    heap.fill(NO_MAXIMUM, queryRowShift, queryRowShift + rows);
    kernels.rowMaximum(queryRowShift, queryFeatures, at.queryShift, rows, countWidth);
    for (let row = queryRowShift; row < queryRowShift + rows; row++) heap[row] = -heap[row]!;
    kernels.expRows(queryFeatures, queryRowShift, at.queryShift, rows, countWidth);
  },
  makeSlopes: () => undefined,
};
