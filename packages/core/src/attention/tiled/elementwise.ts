import { elementwiseFunctions, eluPlusOne } from "../../features/elementwise.ts";
import { rowFactorExponents } from "../../features/row-factor-name.ts";
import type { FeatureFamily, FeatureTile } from "./family.ts";
import type { FeatureMap32 } from "./features.ts";
import { trigonometricFamily } from "./trigonometric.ts";

/** Without h, keys have no weights that would have to be held relative to anything. */
const unweighted: Pick<FeatureFamily, "raiseMaximum" | "endOfPiece"> = {
  raiseMaximum: () => undefined,
  endOfPiece: (_tile, _first, chunk) => chunk,
};

/** phi = f(projection x) + epsilon, taken as it is; h(k) relative to the largest so far. */
export function elementwiseFamily({
  function: name,
  epsilon,
  keyFactor,
}: NonNullable<FeatureMap32["elementwise"]>): FeatureFamily {
  const f = name === "elu-plus-one" ? eluPlusOne : elementwiseFunctions[name].value;
  const derivative =
    name === "elu-plus-one" ? (x: number) => (x > 0 ? 1 : Math.exp(x)) : elementwiseFunctions[name].derivative;
  const { raiseMaximum, endOfPiece } = keyFactor === undefined ? unweighted : trigonometricFamily;
  return {
    isRelative: keyFactor !== undefined,
    normSign: keyFactor === undefined ? -1 : rowFactorExponents[keyFactor],
    isOwnDerivative: false,
    raiseMaximum,
    endOfPiece,
    finishKeys(tile, first, rows) {
      if (keyFactor !== undefined) {
        const { heap, at } = tile;
        for (let row = at.rowShift + first; row < at.rowShift + first + rows; row++) heap[row]! += heap[at.keyShift]!;
      }
      applyFunction(f, epsilon, tile, tile.at.keyFeatures + first * tile.countWidth, tile.at.rowShift + first, rows);
    },
    finishQueries(tile, rows) {
      const { queryFeatures, queryRowShift } = tile.at;
      tile.heap.fill(0, queryRowShift, queryRowShift + rows);
      applyFunction(f, epsilon, tile, queryFeatures, queryRowShift, rows);
    },
    makeSlopes(tile, slopes, _slopePhase, rowShift, rows) {
      applyDerivative(derivative, tile, slopes, rowShift, rows);
    },
  };
}

// Two loops, because an engine inlines a function only into a loop that sees no other: one loop for both takes twice as
// long.

/** x[r, m] = exp(logMask[r]) (f(x[r, m]) + epsilon) over a block `[rows, countWidth]`; padding columns become 0. */
function applyFunction(
  f: (x: number) => number,
  epsilon: number,
  { heap, count, countWidth }: FeatureTile,
  block: number,
  logMask: number,
  rows: number,
): void {
  for (let row = 0; row < rows; row++) {
    const mask = Math.exp(heap[logMask + row]!);
    const start = block + row * countWidth;
    for (let at = start; at < start + count; at++) heap[at] = mask * (f(heap[at]!) + epsilon);
    heap.fill(0, start + count, start + countWidth);
  }
}

/** x[r, m] = exp(logMask[r]) f'(x[r, m]) over a block as in {@link applyFunction}. */
function applyDerivative(
  derivative: (x: number) => number,
  { heap, count, countWidth }: FeatureTile,
  block: number,
  logMask: number,
  rows: number,
): void {
  for (let row = 0; row < rows; row++) {
    const mask = Math.exp(heap[logMask + row]!);
    const start = block + row * countWidth;
    for (let at = start; at < start + count; at++) heap[at] = mask * derivative(heap[at]!);
    heap.fill(0, start + count, start + countWidth);
  }
}
