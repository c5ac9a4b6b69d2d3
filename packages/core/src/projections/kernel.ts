/** What a projection kind supplies; {@link createProjection} checks the arguments and allocates. */
export interface ProjectionKernel {
  readonly storage: number;
  readonly operations: number;
  /** Projects the `dim` values at `x[start]` into `out[target .. target + count)`. */
  project(x: Float64Array, start: number, out: Float64Array, target: number): void;
  /** The matrix `[count, dim]`, if the kind keeps one. */
  readonly matrix?: Float64Array;
}
