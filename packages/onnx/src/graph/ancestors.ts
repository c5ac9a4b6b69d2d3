import type { NodeProto } from "../model/proto.ts";
import type { Graph } from "./graph.ts";
import { valuesRead } from "./topological-order.ts";

/** The values whose contents a node reads, not only their shape or type. */
export function readsData(node: NodeProto): ReadonlySet<string> {
  if (node.opType === "Shape" || node.opType === "Size") return new Set();
  if (node.opType === "CastLike") return new Set(node.input.slice(0, 1));
  return valuesRead(node);
}

/**
 * The nodes that the contents of `values` depend on, up to inputs and constants, without those behind `stop`. Of a
 * body, the nodes outside that make what it captures too.
 */
export function ancestors(graph: Graph, values: Iterable<string>, stop: (value: string) => boolean): Set<NodeProto> {
  const found = new Set<NodeProto>();
  const pending = [...values];
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    if (value === "" || stop(value)) continue;
    const node = graph.owner(value)?.producer(value);
    if (node === undefined || found.has(node)) continue;
    found.add(node);
    pending.push(...readsData(node));
  }
  return found;
}
