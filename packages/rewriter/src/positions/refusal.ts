import { countingOf } from "./index-evaluation.ts";
import { GraphError } from "@favor/onnx/graph";
import type { Graph } from "@favor/onnx/graph";
import { describeNode, intAttribute } from "@favor/onnx/graph";
import type { ShapeConflict } from "@favor/onnx/graph";
import type { NodeProto } from "@favor/onnx";

const advice =
  "Export the model with dynamic axes and a larger position table, or leave out maxLength and keep inputs as short as " +
  "they are now.";

/** The error for a length limit that cannot be raised. */
export function cannotGrow(
  found: string,
  details: Readonly<Record<string, unknown>>,
  whatToDo: string = advice,
): GraphError {
  return new GraphError("positions-cannot-grow", `The model cannot take longer inputs: ${found}. ${whatToDo}`, details);
}

/** The error for a graph that does not run at a given length. */
export function lengthConflict(
  graph: Graph,
  isConstant: (value: string) => boolean,
  conflict: ShapeConflict,
  length: number,
): GraphError {
  const form = foldedForm(graph, isConstant, conflict.node);
  const where = `${describeNode(conflict.node)} ${conflict.message} for an input of ${length} tokens`;
  return cannotGrow(form === undefined ? `${where}: a length is written into the graph` : `${form}; ${where}`, {
    node: conflict.node.name || conflict.node.output[0],
    length,
  });
}

/**
 * Describes how an export of fixed length stores positions, if this node has them: rows folded into a constant, rotary
 * angles folded into constants, or a table read with a constant index.
 */
export function foldedForm(graph: Graph, isConstant: (value: string) => boolean, node: NodeProto): string | undefined {
  const dims = (value: string): readonly number[] => graph.initializerShape(value)?.dims ?? [];
  const constant = node.input.find((value) => isConstant(value) && dims(value).length > 1);
  if (constant === undefined) return undefined;
  const shape = dims(constant);
  const shown = `[${shape.join(", ")}]`;
  const rows = shape.at(-2)!;
  if (node.opType === "Add" && shape.length === 3 && shape[0] === 1 && rows > 1) {
    return `the position rows are folded into the constant "${constant}" ${shown} that ${describeNode(node)} adds, and the table is gone`;
  }
  if (node.opType === "Mul" && shape.length === 4 && rows > 1) {
    return `the rotary angles are folded into the constant "${constant}" ${shown} of ${describeNode(node)}`;
  }
  if (node.opType !== "Gather" || intAttribute(node, "axis", 0) !== 0) return undefined;
  const index = graph.constant(node.input[1]!);
  const counting = index && countingOf(index);
  return counting && `${describeNode(node)} reads "${constant}" with a constant index of ${counting.count} positions`;
}
