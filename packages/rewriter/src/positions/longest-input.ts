import { GraphError } from "@favor/onnx/graph";
import type { Graph } from "@favor/onnx/graph";
import { positionBounds } from "./bounds.ts";
import { constantValues } from "./constant-values.ts";
import { tablesInBodies } from "./control-flow.ts";
import { IndexEvaluation } from "./index-evaluation.ts";
import { fixedLength, twoLengths } from "./lengths.ts";
import { tableAccesses, type TableAccess } from "./table-access.ts";

/**
 * How long an input may be, in tokens: the shortest of what the graph's position tables hold, or the fixed length of the
 * export. "unlimited" if no table is read one row per token, as with rotary positions that are computed. "unknown" if the
 * graph does not show it: it runs at no two lengths, or reads tables inside a body.
 */
export function longestInput(graph: Graph): number | "unlimited" | "unknown" {
  const isConstant = constantValues(graph);
  try {
    const fixed = fixedLength(graph, isConstant, 1);
    if (fixed !== undefined) return fixed;
    const { shorter, longer } = twoLengths(graph, isConstant);
    const at = (probe: typeof shorter): TableAccess[] =>
      tableAccesses(graph, isConstant, new IndexEvaluation(graph, probe));
    const lengths = [shorter.sizes.length, longer.sizes.length] as const;
    const limits = positionBounds(at(shorter), at(longer), lengths).map(({ rows, offset, rowsRead }) =>
      longestWithin(rows - offset, rowsRead),
    );
    if (limits.length > 0) return Math.min(...limits);
    return tablesInBodies(graph).length > 0 ? "unknown" : "unlimited";
  } catch (error) {
    if (error instanceof GraphError) return "unknown";
    throw error;
  }
}

/** The largest length at which no more than so many rows are read. */
function longestWithin(rows: number, rowsRead: (length: number) => number): number {
  let [low, high] = [0, 2 ** 32];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (rowsRead(middle) <= rows) low = middle;
    else high = middle;
  }
  return low;
}
