/**
 * The coordinates in which a head's features are computed: q' = queryMatrix (q - queryMean), k' = keyMatrix (k -
 * keyMean).
 */
export interface HeadCoordinates<Numbers = Float64Array> {
  /** `[dim]` */
  readonly queryMean: Numbers;
  /** `[dim]` */
  readonly keyMean: Numbers;
  /** `[dim, dim]`, row-major. */
  readonly queryMatrix: Numbers;
  /** `[dim, dim]`, row-major. Where q.k is preserved, the inverse transpose of `queryMatrix`. */
  readonly keyMatrix: Numbers;
}

/** The fields of {@link HeadCoordinates}. */
export const coordinateFields: Readonly<Record<keyof HeadCoordinates, "array">> = {
  queryMean: "array",
  keyMean: "array",
  queryMatrix: "array",
  keyMatrix: "array",
};

/** The coordinates of a description as typed arrays. */
export function coordinatesOf(description: HeadCoordinates<readonly number[]>): HeadCoordinates {
  return {
    queryMean: Float64Array.from(description.queryMean),
    keyMean: Float64Array.from(description.keyMean),
    queryMatrix: Float64Array.from(description.queryMatrix),
    keyMatrix: Float64Array.from(description.keyMatrix),
  };
}

/** Coordinates as a description holds them: plain arrays of numbers. */
export function plainCoordinates(coordinates: HeadCoordinates): HeadCoordinates<readonly number[]> {
  return {
    queryMean: Array.from(coordinates.queryMean),
    keyMean: Array.from(coordinates.keyMean),
    queryMatrix: Array.from(coordinates.queryMatrix),
    keyMatrix: Array.from(coordinates.keyMatrix),
  };
}

/** Coordinates that change nothing. */
export function unchangedCoordinates(dim: number): HeadCoordinates {
  const identity = Float64Array.from({ length: dim * dim }, (_, i) => (i % (dim + 1) === 0 ? 1 : 0));
  const zeros = new Float64Array(dim);
  return { queryMean: zeros, keyMean: zeros, queryMatrix: identity, keyMatrix: identity };
}
