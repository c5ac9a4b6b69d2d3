import { TILE } from "./rows.ts";
import type { Layout } from "./rows.ts";

/** Where each block lies in the heap; sizes at {@link layOutWorkspace}. */
export type WorkspaceBlocks = Readonly<
  Record<
    | "queryProjection"
    | "keyProjection"
    | "normMatrix"
    | "keyWeight"
    | "core"
    | "sums"
    | "normaliser"
    | "joinedSums"
    | "joinedNormaliser"
    | "maximum"
    | "limit"
    | "phase"
    | "factors"
    | "keyShift"
    | "queryShift"
    | "rows"
    | "normRows"
    | "values"
    | "keyFeatures"
    | "joinedFeatures"
    | "queryFeatures"
    | "keyFeaturesTransposed"
    | "scores"
    | "out"
    | "rowShift"
    | "queryRowShift"
    | "divisor"
    | "size",
    number
  >
>;

export function layOutWorkspace(
  layout: Layout,
  dimWidth: number,
  countWidth: number,
  valueWidth: number,
  hasCore: boolean,
): WorkspaceBlocks {
  return {
    /** `[dim, count]`: the projections, transposed. */
    queryProjection: layout.take(dimWidth, countWidth),
    keyProjection: layout.take(dimWidth, countWidth),
    normMatrix: layout.take(dimWidth, dimWidth),
    keyWeight: layout.take(1, dimWidth),
    /** `[count, count]`: C^T. */
    core: hasCore ? layout.take(countWidth, countWidth) : 0,
    /** `[count, valueDim]` and `[count]`: S and z; `joined...` the core times them. */
    sums: layout.take(countWidth, valueWidth),
    normaliser: layout.take(1, countWidth),
    joinedSums: hasCore ? layout.take(countWidth, valueWidth) : 0,
    joinedNormaliser: hasCore ? layout.take(1, countWidth) : 0,
    /** `[count]`. */
    maximum: layout.take(1, countWidth),
    limit: layout.take(1, countWidth),
    phase: layout.take(1, countWidth),
    factors: layout.take(1, countWidth),
    keyShift: layout.take(1, countWidth),
    queryShift: layout.take(1, countWidth),
    /** Tiles, `[TILE, ...]`. */
    rows: layout.take(TILE, dimWidth),
    normRows: layout.take(TILE, dimWidth),
    values: layout.take(TILE, valueWidth),
    keyFeatures: layout.take(TILE, countWidth),
    joinedFeatures: hasCore ? layout.take(TILE, countWidth) : 0,
    queryFeatures: layout.take(TILE, countWidth),
    /** `[count, TILE]`. */
    keyFeaturesTransposed: layout.take(countWidth, TILE),
    scores: layout.take(TILE, TILE),
    out: layout.take(TILE, valueWidth),
    rowShift: layout.take(1, TILE),
    queryRowShift: layout.take(1, TILE),
    divisor: layout.take(1, TILE),
    size: layout.size,
  };
}
