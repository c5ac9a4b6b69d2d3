import type { NodeProto } from "../model/proto.ts";
import { valuesAbove, valuesRead } from "../model/walk.ts";
import type { Graph } from "./graph.ts";

/** The values whose contents a node reads, not only their shape or type. */
export function readsData(node: NodeProto): ReadonlySet<string> {
  if (node.opType === "Shape" || node.opType === "Size") return new Set();
  if (node.opType === "CastLike") return new Set(node.input.slice(0, 1));
  return valuesRead(node);
}

/**
 * The nodes of a graph that read the contents of a value, not only its shape or type, each once. Agrees with
 * {@link readsData}, but the cost grows with the readers, not with everything that they read.
 */
export function dataReaders(graph: Graph, value: string): readonly NodeProto[] {
  return graph.consumers(value).filter((node) => readsDataOf(node, value));
}

/** Whether a node that reads a value reads its contents. */
function readsDataOf({ opType, input }: NodeProto, value: string): boolean {
  if (opType === "Shape" || opType === "Size") return false;
  return opType !== "CastLike" || input[0] === value;
}

/**
 * The nodes that the contents of `values` depend on, up to inputs and constants. For a value in a body, they include the
 * nodes outside that make what the body captures.
 *
 * @param stop values whose nodes are left out, and all that is above them; default none
 */
export function ancestors(
  graph: Graph,
  values: Iterable<string>,
  stop: (value: string) => boolean = () => false,
): Set<NodeProto> {
  const producer = (value: string): NodeProto | undefined =>
    stop(value) ? undefined : graph.owner(value)?.producer(value);
  const found = new Set<NodeProto>();
  for (const [, node] of valuesAbove(values, producer, readsData)) if (node !== undefined) found.add(node);
  return found;
}

/**
 * The nodes met by going from a value to the node that makes it, on to that node's first input, and so on.
 *
 * @param isPassed whether the walk goes on through a node; it ends before the first for which this is false
 */
export function* nodesAlongFirstInput(
  graph: Graph,
  value: string,
  isPassed: (node: NodeProto) => boolean,
): Generator<NodeProto> {
  for (let node = graph.producer(value); node !== undefined && isPassed(node); node = graph.producer(node.input[0]!)) {
    yield node;
  }
}

/** Of at least one given value, the one that the graph makes last. Inputs, constants and outer values count as first. */
export function madeLast(graph: Graph, values: Iterable<string>): string {
  const placeOf = (value: string): number => {
    const node = graph.producer(value);
    return node === undefined ? -1 : graph.place(node);
  };
  return [...values].reduce((a, b) => (placeOf(a) >= placeOf(b) ? a : b));
}
