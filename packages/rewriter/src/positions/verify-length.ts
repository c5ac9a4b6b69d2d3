import type { Graph } from "@favor/onnx/graph";
import { describeNode } from "@favor/onnx/graph";
import type { Probe } from "@favor/onnx/graph";
import { ShapeConflict } from "@favor/onnx/graph";
import type { Tensor } from "@favor/onnx/evaluate";
import { accessIndex, type PositionBound } from "./bounds.ts";
import { constantValues } from "./constant-values.ts";
import { tablesInBodies } from "./control-flow.ts";
import { countingOf, IndexEvaluation } from "./index-evaluation.ts";
import { probeAt } from "./lengths.ts";
import { cannotGrow, lengthConflict } from "./refusal.ts";
import { tableAccesses, type TableAccess } from "./table-access.ts";

/**
 * Verifies a grown graph: at exactly `maxLength` tokens all shapes fit, every position bound reads the expected rows
 * within its table, and no other look-up leaves its table.
 *
 * @param bounds found before the growth
 * @param accesses all look-ups before the growth
 * @returns sentences for the report on anything that could not be verified
 * @throws GraphError "positions-cannot-grow", naming the node
 */
export function verifyLength(
  graph: Graph,
  bounds: readonly PositionBound[],
  accesses: readonly TableAccess[],
  maxLength: number,
): string[] {
  const isConstant = constantValues(graph);
  const now = accessIndex(tableAccesses(graph, isConstant, new IndexEvaluation(graph, runAt(graph, maxLength))));
  for (const bound of bounds) requireRows(bound, now(bound), maxLength);

  const notes = tablesInBodies(graph).map((found) => `Not checked for ${maxLength} tokens: ${found}.`);
  const isBound = accessIndex(bounds);
  for (const access of accesses) {
    const later = isBound(access) === undefined ? now(access) : undefined;
    if (later !== undefined && later.index.length < Math.min(1, access.index.length)) {
      notes.push(`Not checked for ${maxLength} tokens: ${describeNode(access.node)}, which reads "${access.table}".`);
    }
    if (later === undefined || !exceeds(later.index, later.rows) || exceeds(access.index, access.rows)) continue;
    throw cannotGrow(
      `${describeNode(access.node)} looks up "${access.table}" beyond its ${access.rows} rows for an input of ` +
        `${maxLength} tokens, and does not read one row per token: probably the relative positions of a layer that ` +
        "stays softmax",
      { table: access.table, node: access.node.name || access.node.output[0] },
    );
  }
  return notes;
}

function runAt(graph: Graph, length: number): Probe {
  try {
    return probeAt(graph, length);
  } catch (error) {
    if (error instanceof ShapeConflict) throw lengthConflict(graph, constantValues(graph), error, length);
    throw error;
  }
}

/** Requires that the position bound counts on to the last token. A clamped or wrapped index does not. */
function requireRows(bound: PositionBound, now: TableAccess | undefined, maxLength: number): void {
  if (now === undefined || now.index.length === 0) return;
  const { offset } = bound;
  const count = bound.rowsRead(maxLength);
  const isReached = now.index.map(countingOf).some((found) => found?.offset === offset && found.count === count);
  if (isReached && offset + count <= now.rows) return;
  throw cannotGrow(
    `${describeNode(bound.node)} does not read a separate row of "${bound.table}" for each of ${maxLength} tokens: ` +
      "its index is clipped or wraps around",
    { table: bound.table, node: bound.node.name || bound.node.output[0] },
  );
}

/** Whether an index leaves a table of `rows` rows for every guess at unpadded input. */
function exceeds(index: readonly Tensor[], rows: number): boolean {
  return index.length > 0 && index.every(({ data }) => data.some((value) => value < -rows || value >= rows));
}
