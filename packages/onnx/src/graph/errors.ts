import { FavorError } from "@favor/core";

/** What is wrong with a graph, or prevents rewriting it. Stable. */
export type GraphErrorCode =
  /** A value depends on itself. */
  | "cyclic-graph"
  /** Two nodes, or a node and an input or initializer, make the same value. */
  | "duplicate-value"
  /** A node or an output reads a value that nothing makes. */
  | "undefined-value"
  /** A local function calls itself. */
  | "recursive-function"
  /** Inlining the local functions would make too many nodes, or nest bodies too deeply. */
  | "expansion-too-large"
  /** The graph has more nodes than are looked at, or its wiring takes too many steps to follow. */
  | "graph-too-large"
  /** No attention can be replaced; `details.sites` has the reasons. */
  | "nothing-convertible"
  /** The model was converted before. */
  | "already-converted"
  /** The model cannot take longer inputs. */
  | "positions-cannot-grow"
  /** A weight that projects queries, keys or values has NaN or infinity. */
  | "non-finite-weights"
  /** The model cannot be fed in pieces. */
  | "cannot-be-stateful"
  /** An attention that cannot have exact keys. */
  | "cannot-have-exact-keys"
  /** The model's opset is too old, or cannot be raised to the one of the target. */
  | "cannot-raise-opset"
  /** A layer has ALiBi, and the features are none that estimate exp(q.k) by positive numbers. */
  | "features-cannot-fade"
  /** Statistics or feature maps belong to another site or model. */
  | "calibration-mismatch";

/** A graph cannot be rewritten as requested. The code says why; `details` has the nodes and values. */
export class GraphError extends FavorError<GraphErrorCode> {
  constructor(code: GraphErrorCode, message: string, details: Readonly<Record<string, unknown>> = {}, cause?: unknown) {
    super(message, { code, details, cause });
  }
}
