import type { Graph } from "@favor/onnx/graph";
import { describeNode } from "@favor/onnx/graph";
import { encodeTensor } from "@favor/onnx/evaluate";
import { positionBounds, type PositionBound } from "./bounds.ts";
import { constantValues, readConstant } from "./constant-values.ts";
import { continueCausal, continueRows, type Continuation, type GrownAxis } from "./continuation.ts";
import { IndexEvaluation } from "./index-evaluation.ts";
import { fixedLength, twoLengths } from "./lengths.ts";
import { cannotGrow } from "./refusal.ts";
import { tableAccesses, type TableAccess } from "./table-access.ts";
import { verifyLength } from "./verify-length.ts";

/**
 * Makes inputs of up to `maxLength` tokens work: every table and buffer that is read one row per token gets the rows
 * that this takes, in a new initializer that only those reads see. Positions are found by evaluating the graph's own index
 * arithmetic for inputs without padding. Thus their offset is known, not assumed: a RoBERTa table of 514 rows reaches
 * 512 tokens. Dead initializers are removed, and the grown graph is probed at exactly `maxLength`.
 *
 * @param maxLength in tokens, padding and special tokens included
 * @param growth of learned tables, see {@link continueRows}. Tables with a law of their own continue either way, except
 *   that "interpolate" stretches sinusoidal tables too
 * @returns sentences for the report: each table with its old and new number of rows, or that none had to grow
 * @throws GraphError "positions-cannot-grow", naming the obstacle
 */
export function growPositions(graph: Graph, maxLength: number, growth: "tile" | "interpolate"): string[] {
  const isConstant = constantValues(graph);
  const fixed = fixedLength(graph, isConstant, maxLength);
  if (fixed !== undefined) {
    return [`The model takes inputs of exactly ${fixed} tokens, so nothing has to grow for inputs of ${maxLength}.`];
  }
  const { shorter, longer } = twoLengths(graph, isConstant);
  const at = (probe: typeof shorter): TableAccess[] =>
    tableAccesses(graph, isConstant, new IndexEvaluation(graph, probe));
  const accesses = at(shorter);
  const bounds = positionBounds(accesses, at(longer), [shorter.sizes.length, longer.sizes.length]);
  const tables = [...new Set(bounds.map(({ table }) => table))];
  const notes = tables.flatMap((table) => {
    const reads = bounds.filter((bound) => bound.table === table);
    return growTable(graph, table, reads, maxLength, growth) ?? [];
  });
  graph.reindex();
  graph.removeDead();
  const unchecked = verifyLength(graph, bounds, accesses, maxLength);
  if (notes.length > 0) return [...notes, ...unchecked];
  const nothing =
    bounds.length === 0
      ? `No table limits the length of the input, and all shapes fit at ${maxLength} tokens.`
      : `The position tables already reach ${maxLength} tokens. Nothing was changed.`;
  return [nothing, ...unchecked];
}

/** Gives one table the rows that its reads need and reports it; returns undefined if it has enough. */
function growTable(
  graph: Graph,
  table: string,
  reads: readonly PositionBound[],
  maxLength: number,
  growth: "tile" | "interpolate",
): string | undefined {
  const axes = shortAxes(reads, maxLength);
  if (axes.length === 0) return undefined;
  const before = readConstant(graph, table);
  const node = reads[0]!.node;
  const computed = reads.some(({ node: { opType } }) => opType === "RotaryEmbedding");
  const made: Continuation =
    axes.length === 1 ? continueRows(before, axes[0]!, growth, computed) : continueCausal(before, axes);
  if ("refused" in made) {
    const shape = before.dims.join(", ");
    throw cannotGrow(`"${table}" [${shape}], read by ${describeNode(node)}, cannot grow: ${made.refused}`, {
      table,
      node: node.name || node.output[0],
    });
  }
  const name = graph.freshName(`favor/${table}`);
  graph.addInitializer(encodeTensor(name, made.tensor));
  const readers = new Set(reads.map(({ reader }) => reader));
  for (const reader of readers) reader.input = reader.input.map((input) => (input === table ? name : input));
  // Shapes that the exporter recorded for values made of the table may have the old number of rows.
  const stale = new Set([...readers].flatMap(({ output }) => output));
  graph.proto.valueInfo = graph.proto.valueInfo.filter((info) => !stale.has(info.name));
  const [{ axis, offset, rows }] = axes as [GrownAxis];
  const from = offset === 0 ? "" : ` (the first position is row ${offset})`;
  return `"${table}" grew from ${before.dims[axis]} to ${rows} rows for inputs of ${maxLength} tokens${from}: ${made.how}.`;
}

/** The axes of a table that are too short for `maxLength` tokens. */
function shortAxes(reads: readonly PositionBound[], maxLength: number): GrownAxis[] {
  const axes = new Map<number, GrownAxis>();
  for (const { axis, offset, rows, rowsRead } of reads) {
    const needed = offset + rowsRead(maxLength);
    if (needed <= rows) continue;
    const other = axes.get(axis);
    axes.set(axis, {
      axis,
      offset: Math.min(offset, other?.offset ?? offset),
      rows: Math.max(needed, other?.rows ?? needed),
    });
  }
  return [...axes.values()].toSorted((a, b) => a.axis - b.axis);
}
