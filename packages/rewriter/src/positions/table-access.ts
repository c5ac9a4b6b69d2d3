import { tensorOf, type Tensor } from "@favor/onnx/evaluate";
import type { Graph } from "@favor/onnx/graph";
import { intAttribute, intsAttribute, nodesAlongFirstInput } from "@favor/onnx/graph";
import { DataType, type NodeProto } from "@favor/onnx";
import type { IndexEvaluation } from "./index-evaluation.ts";

/** One axis of a constant, as one node reads it at one length of the input. */
export interface TableAccess {
  /** Gather, Slice, EmbedLayerNormalization, ...: where the index meets the table. */
  readonly node: NodeProto;
  /** The input of `node` that the table comes in by. */
  readonly slot: number;
  /** The constant that is read, and the node that takes it in: `node`, or an Expand or Slice before it. */
  readonly table: string;
  readonly reader: NodeProto;
  /** Axis of the table. */
  readonly axis: number;
  /** Rows of the table along that axis, now. */
  readonly rows: number;
  /** The rows that are read, as the guesses of {@link IndexEvaluation} have it. */
  readonly index: readonly Tensor[];
}

/** Every constant that the graph looks rows up in. */
export function tableAccesses(
  graph: Graph,
  isConstant: (value: string) => boolean,
  evaluation: IndexEvaluation,
): TableAccess[] {
  return graph.nodes.flatMap((node) =>
    readsOf(node, evaluation).flatMap(({ slot, axis, index }) => {
      const data = node.input[slot]!;
      const source = tableBehind(graph, isConstant, node, data);
      const before = evaluation.probe.info.get(data)?.dims;
      const dims = source && evaluation.probe.info.get(source.table)?.dims;
      if (!source || !before || !dims) return [];
      // Expand may have put axes in front; an axis that an earlier Slice has cut is that Slice's.
      const own = axis - (before.length - dims.length);
      const rows = dims[own];
      return rows === undefined || rows !== before[axis]
        ? []
        : [{ ...source, node, slot, axis: own, rows, index: index() }];
    }),
  );
}

interface Read {
  readonly slot: number;
  readonly axis: number;
  /** Computed only for what turns out to be a table. */
  readonly index: () => readonly Tensor[];
}

function readsOf(node: NodeProto, evaluation: IndexEvaluation): Read[] {
  const { info } = evaluation.probe;
  const at = (slot: number, index: Read["index"], axis = 0): Read[] =>
    (node.input[slot] ?? "") === "" ? [] : [{ slot, axis, index }];
  switch (node.opType) {
    case "Gather":
    case "GatherElements": {
      const axis = intAttribute(node, "axis", 0);
      const rank = info.get(node.input[0]!)?.dims.length ?? 0;
      return at(0, () => evaluation.values(node.input[1]!), axis < 0 ? axis + rank : axis);
    }
    case "Slice":
      return sliceReads(node, evaluation);
    case "EmbedLayerNormalization": {
      const given = node.input[8] ?? "";
      const length = info.get(node.input[0]!)?.dims[1];
      if (given !== "") return at(3, () => evaluation.values(given));
      return length === undefined ? [] : at(3, () => [consecutive(0, length)]);
    }
    case "RotaryEmbedding": {
      const [positions, cosines, sines] = node.domain === "com.microsoft" ? [1, 2, 3] : [3, 1, 2];
      if ((node.input[positions] ?? "") === "") return [];
      const length = info.get(node.input[0]!)?.dims.at(-2) ?? 1;
      const index = () => evaluation.values(node.input[positions]!).map((given) => fromOffset(given, length));
      return [...at(cosines, index), ...at(sines, index)];
    }
    default:
      return [];
  }
}

/** A Slice of step 1 reads consecutive rows of every axis that it names. */
function sliceReads(node: NodeProto, { probe }: IndexEvaluation): Read[] {
  const data = node.input[0]!;
  const before = probe.info.get(data)?.dims;
  const after = probe.info.get(node.output[0]!)?.dims;
  if (!before || !after) return [];
  const list = (input: number, name: string): number[] | undefined => {
    const value = probe.info.get(node.input[input] ?? "")?.value;
    return value ? Array.from(value.data) : intsAttribute(node, name);
  };
  const starts = list(1, "starts");
  const axes = list(3, "axes") ?? starts?.map((_, i) => i);
  const steps = list(4, "steps");
  if (!starts || !axes) return [];
  return axes.flatMap((given, i) => {
    const axis = given < 0 ? given + before.length : given;
    const start = starts[i]! < 0 ? Math.max(0, starts[i]! + before[axis]!) : starts[i]!;
    return (steps?.[i] ?? 1) === 1 ? [{ slot: 0, axis, index: () => [consecutive(start, after[axis]!)] }] : [];
  });
}

const consecutive = (start: number, count: number): Tensor =>
  tensorOf(
    DataType.INT64,
    [count],
    Float64Array.from({ length: count }, (_, i) => start + i),
  );

/** com.microsoft.RotaryEmbedding may be given the first position alone. */
const fromOffset = (positions: Tensor, length: number): Tensor =>
  positions.dims.length < 2 && positions.data.length === 1 ? consecutive(positions.data[0]!, length) : positions;

const transparent = new Set(["Slice", "Expand", "Identity", "Cast"]);

/** The constant that a value is a part or a repetition of, and the node that reads it. */
function tableBehind(
  graph: Graph,
  isConstant: (value: string) => boolean,
  node: NodeProto,
  data: string,
): { table: string; reader: NodeProto } | undefined {
  let reader = node;
  let table = data;
  for (const made of nodesAlongFirstInput(graph, data, ({ opType }) => transparent.has(opType))) {
    if (isConstant(table)) break;
    reader = made;
    table = made.input[0]!;
  }
  return isConstant(table) ? { table, reader } : undefined;
}
