import type { ModelProto, NodeProto } from "@favor/onnx";
import { bodies, Graph, intAttribute, intsAttribute } from "@favor/onnx/graph";
import { copyingOperators } from "@favor/onnx/semantics";

/** What a graph does with the integers of an input. */
export interface InputUse {
  /** Rows of the smallest table that is looked up with them; undefined if there is none. */
  readonly rows: number | undefined;
  /** Constants that they are compared with: ids of padding, among others. */
  readonly compared: readonly number[];
  /** Whether any node reads the input. */
  readonly isRead: boolean;
}

/** Values followed from an input. */
const mostValues = 256;

/** Follows each input of a model through copies and casts to the tables that it is looked up in. */
export function inputUses(model: ModelProto): Map<string, InputUse> {
  const graph = Graph.of(model);
  return new Map(graph.inputs.map(({ name }) => [name, useOf(graph, name)]));
}

function useOf(graph: Graph, input: string): InputUse {
  const rows: number[] = [];
  const compared = new Set<number>();
  const seen = new Set([input]);
  const pending = [input];
  let isRead = false;
  for (let value = pending.pop(); value !== undefined && seen.size < mostValues; value = pending.pop()) {
    for (const [owner, node] of readersOf(graph, value)) {
      isRead = true;
      const table = tableRows(owner, node, value);
      if (table !== undefined) rows.push(table);
      if (node.opType === "Equal") {
        for (const other of node.input) for (const number of owner.constant(other)?.data ?? []) compared.add(number);
      }
      const isCopy = (copyingOperators.has(node.opType) || node.opType === "Cast") && node.input[0] === value;
      for (const output of isCopy && table === undefined ? node.output : []) {
        if (output === "" || seen.has(output)) continue;
        seen.add(output);
        pending.push(output);
      }
    }
  }
  return { rows: rows.length === 0 ? undefined : Math.min(...rows), compared: [...compared], isRead };
}

/** The nodes that read a value, in a graph and in the bodies of its nodes, each with its graph. */
function readersOf(graph: Graph, value: string): (readonly [Graph, NodeProto])[] {
  return graph
    .consumers(value)
    .flatMap((node) => [
      ...(node.input.includes(value) ? [[graph, node] as const] : []),
      ...bodies(node).flatMap((body) => readersOf(graph.body(body), value)),
    ]);
}

/** Inputs of EmbedLayerNormalization, tokens, segments and positions, with the input that holds the table of each. */
const embeddingOf: ReadonlyMap<number, number> = new Map([
  [0, 2],
  [1, 4],
  [8, 3],
]);

function tableRows(graph: Graph, node: NodeProto, value: string): number | undefined {
  const at = node.input.indexOf(value);
  switch (node.opType) {
    case "Gather":
    case "GatherBlockQuantized": {
      const data = node.input[0]!;
      const axis = node.opType === "Gather" ? intAttribute(node, "axis", 0) : intAttribute(node, "gather_axis", 0);
      return at === 1 ? constantDims(graph, data)?.[axis] : undefined;
    }
    case "GatherND":
      return at === 1 ? constantDims(graph, node.input[0]!)?.[0] : undefined;
    case "EmbedLayerNormalization":
      return constantDims(graph, node.input[embeddingOf.get(at) ?? -1] ?? "")?.[0];
    case "OneHot":
      return at === 0 ? graph.constant(node.input[1]!)?.data[0] : undefined;
    default:
      return undefined;
  }
}

/** Operators that change the numbers of a table and leave its shape. */
const sameShape = new Set(["Cast", "DequantizeLinear", "Identity", "Mul"]);

/** The shape of a stored table, also where it is dequantised, cast, scaled or transposed before it is read. */
function constantDims(graph: Graph, value: string): readonly number[] | undefined {
  const stored = graph.initializerShape(value);
  if (stored !== undefined) return stored.dims;
  const node = graph.owner(value)?.producer(value);
  if (node === undefined) return undefined;
  if (sameShape.has(node.opType)) return constantDims(graph, node.input[0]!);
  if (node.opType !== "Transpose") return undefined;
  const before = constantDims(graph, node.input[0]!);
  const order = intsAttribute(node, "perm");
  return before && (order === undefined ? before.toReversed() : order.map((axis) => before[axis]!));
}
