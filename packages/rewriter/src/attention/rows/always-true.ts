import type { NodeProto } from "@favor/onnx";
import { decodeTensor } from "@favor/onnx/evaluate";
import type { Graph } from "@favor/onnx/graph";
import { copyingOperators } from "@favor/onnx/semantics";

/** Longest way up from a condition to the numbers that it compares. */
const longestWay = 24;

/**
 * Whether a condition holds everywhere, whatever the inputs: positions that are not below 0, as transformers' encoders
 * write their mask "every query sees every key". Follows few operators: false says nothing.
 */
export function isAlwaysTrue(graph: Graph, value: string, way: number = longestWay): boolean {
  const constant = graph.constant(value);
  if (constant !== undefined) return constant.data.length > 0 && constant.data.every((one) => one !== 0);
  const node = graph.owner(value)?.producer(value);
  if (node === undefined || way === 0 || graph.isOverridable(value)) return false;
  const [first = "", second = ""] = node.input;
  const isTrue = (input: string): boolean => isAlwaysTrue(graph, input, way - 1);
  const isAtLeast = (a: string, b: string): boolean => leastOf(graph, a, way - 1) >= largestConstant(graph, b);
  switch (node.opType) {
    case "And":
      return isTrue(first) && isTrue(second);
    case "Or":
      return isTrue(first) || isTrue(second);
    case "Cast":
    case "Tile":
    case "Expand":
      return isTrue(first);
    case "ConstantOfShape":
      return filling(node) !== 0;
    case "GreaterOrEqual":
      return isAtLeast(first, second);
    case "LessOrEqual":
      return isAtLeast(second, first);
    case "Not": {
      const less = graph.owner(first)?.producer(first);
      return less?.opType === "Less" && isAtLeast(less.input[0]!, less.input[1]!);
    }
    default:
      return copyingOperators.has(node.opType) && node.opType !== "Concat" && isTrue(first);
  }
}

/** A number that no element of a value is below; -Infinity if none is known. */
function leastOf(graph: Graph, value: string, way: number): number {
  const constant = graph.constant(value);
  if (constant !== undefined) return Array.from(constant.data).reduce((a, b) => Math.min(a, b), Infinity);
  const node = graph.owner(value)?.producer(value);
  if (node === undefined || way === 0 || graph.isOverridable(value)) return -Infinity;
  const [first = "", second = "", third = ""] = node.input;
  const least = (input: string): number => leastOf(graph, input, way - 1);
  switch (node.opType) {
    case "Range":
      return least(third) >= 0 ? least(first) : -Infinity;
    case "Shape":
    case "Size":
    case "NonZero":
      return 0;
    case "Add":
      return least(first) + least(second);
    case "ConstantOfShape":
      return filling(node);
    case "Cast":
      return least(first);
    default:
      return copyingOperators.has(node.opType) && node.opType !== "Concat" ? least(first) : -Infinity;
  }
}

function largestConstant(graph: Graph, value: string): number {
  const constant = graph.constant(value);
  return constant === undefined ? Infinity : Array.from(constant.data).reduce((a, b) => Math.max(a, b), -Infinity);
}

/** The number that ConstantOfShape repeats. */
function filling({ attribute }: NodeProto): number {
  const tensor = attribute.find(({ name }) => name === "value")?.t;
  return tensor ? decodeTensor(tensor).data[0]! : 0;
}
