import { FavorError } from "@favor/core";

/** What is wrong with a graph, or stands in the way of rewriting it. Stable. */
export type GraphErrorCode =
  | "cyclic-graph"
  | "duplicate-value"
  | "undefined-value"
  | "recursive-function"
  | "expansion-too-large"
  | "nothing-convertible"
  | "already-converted"
  | "positions-cannot-grow"
  | "non-finite-weights"
  | "cannot-be-stateful"
  | "cannot-raise-opset"
  | "calibration-mismatch";

/** A graph that cannot be rewritten as asked: the code says why, `details` name nodes and values. */
export class GraphError extends FavorError<GraphErrorCode> {
  constructor(code: GraphErrorCode, message: string, details: Readonly<Record<string, unknown>> = {}, cause?: unknown) {
    super(message, { code, details, cause });
  }
}
