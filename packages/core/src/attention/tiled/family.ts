import type { BlockKernels } from "../../kernels/block-kernels.ts";
import type { WorkspaceBlocks } from "./workspace-blocks.ts";

/**
 * How far the log of a key's feature may exceed the maximum that it is held relative to. exp(30) leaves room for sums.
 */
export const HEADROOM = 30;

/** The tile that a family works on: the parts of a `FavorWorkspace` that it needs. */
export interface FeatureTile {
  readonly kernels: BlockKernels;
  readonly heap: Float32Array;
  readonly at: WorkspaceBlocks;
  /** M, and M rounded up to a multiple of 8. */
  readonly count: number;
  readonly countWidth: number;
  /** Whether any head has a core, which mixes features: then all features share one maximum. */
  readonly hasCore: boolean;
}

/**
 * What a family of feature maps (exponential, trigonometric or elementwise) does with the rows of a tile after the
 * projection. `first` and `rows` count rows of the loaded keys.
 */
export interface FeatureFamily {
  /**
   * Whether features are held relative to a running maximum. If not, keys are never rescaled, and `raiseMaximum` is not
   * called.
   */
  readonly isRelative: boolean;
  /** The sign of |normMatrix k|^2 / 2 in the log of a key's weight. */
  readonly normSign: 1 | -1;
  /** Whether the derivative of phi is phi itself: the backward pass then needs no slopes. */
  readonly isOwnDerivative: boolean;
  /** Raises `maximum` to cover the `rows` keys from `first`. */
  raiseMaximum(tile: FeatureTile, first: number, rows: number): void;
  /** The first of `chunk` keys, after `first`, whose log features exceed the maxima by more than {@link HEADROOM}. */
  endOfPiece(tile: FeatureTile, first: number, chunk: number): number;
  /**
   * Turns projected keys into features, relative to the maxima, and `rowShift` into what {@link
   * FeatureFamily.makeSlopes} takes.
   */
  finishKeys(tile: FeatureTile, first: number, rows: number): void;
  /** Turns projected queries into features, and `queryRowShift` into what {@link FeatureFamily.makeSlopes} takes. */
  finishQueries(tile: FeatureTile, rows: number): void;
  /**
   * Turns projected rows in the block `slopes` into d phi / d(projection x).
   *
   * @param rowShift What `finishKeys` or `finishQueries` left, `[rows]`.
   * @param slopePhase `[count]`: the phases plus pi / 2, for trigonometric features.
   */
  makeSlopes(tile: FeatureTile, slopes: number, slopePhase: number, rowShift: number, rows: number): void;
}
