import { requireInteger } from "../checks.ts";
import { requireOptions } from "../options.ts";
import type { OptionNames } from "../options.ts";
import { ArgumentError } from "../errors.ts";

/** How the rows of a projection matrix depend on each other; section 2.4 of 2006.03555. */
export type ProjectionKind = "iid" | "orthogonal" | "hadamard" | "givens";

/**
 * Identifies one projection matrix, `[count, dim]`: plain JSON from which {@link drawProjection} gives the same matrix,
 * bit for bit, on every engine. Evaluation never redraws; a redraw is another `epoch`.
 */
export interface ProjectionDescription {
  readonly kind: ProjectionKind;
  /** Rows M, at least 1. */
  readonly count: number;
  /** Columns d, at least 1. */
  readonly dim: number;
  /** 0 to 2^53 - 1. */
  readonly seed: number;
  /** Default 0. */
  readonly layer?: number;
  /** Default 0. */
  readonly head?: number;
  /** Redraw number, default 0. */
  readonly epoch?: number;
  /**
   * The row lengths. "chi" (default): those of Gaussian vectors, which keeps every estimator unbiased ("givens" and
   * "hadamard", whose directions are only nearly uniform: to 1 % where |q|^2 and |k|^2 are at most 1). "sqrt-dim": all sqrt(d), with less variance but a
   * slight bias. Not for "iid", whose rows are Gaussian.
   */
  readonly norms?: "chi" | "sqrt-dim";
}

const kinds: readonly string[] = ["iid", "orthogonal", "hadamard", "givens"] satisfies ProjectionKind[];
const names: OptionNames<ProjectionDescription> = {
  kind: true,
  count: true,
  dim: true,
  seed: true,
  layer: true,
  head: true,
  epoch: true,
  norms: true,
};
const largest = 1 << 20;

/** @throws ArgumentError for an unknown kind, a size outside 1 to 2^20, or a seed, layer, head, epoch out of range. */
export function checkProjectionDescription(d: ProjectionDescription): void {
  const example = '{ kind: "orthogonal", count: 256, dim: 64, seed: 0 }';
  requireOptions("projection", d, names, example);
  if (!kinds.includes(d.kind)) throw new ArgumentError("projection.kind", `one of ${kinds.join(", ")}`, d.kind);
  requireInteger("projection.count", d.count, 1, largest);
  requireInteger("projection.dim", d.dim, 1, largest);
  requireInteger("projection.seed", d.seed, 0, Number.MAX_SAFE_INTEGER);
  requireInteger("projection.layer", d.layer ?? 0, 0, 0xffff);
  requireInteger("projection.head", d.head ?? 0, 0, 0xffff);
  requireInteger("projection.epoch", d.epoch ?? 0, 0, 0xffffffff);
  if (d.norms !== undefined && d.norms !== "chi" && d.norms !== "sqrt-dim") {
    throw new ArgumentError("projection.norms", "chi or sqrt-dim", d.norms);
  }
  if (d.kind === "iid" && d.norms === "sqrt-dim") {
    throw new ArgumentError("projection.norms", "chi, because the rows of an iid projection are Gaussian", d.norms);
  }
}
