import type { NodeProto } from "../model/proto.ts";
import { valuesRead } from "../graph/topological-order.ts";
import type { Graph } from "../graph/graph.ts";
import type { Probe } from "../graph/probe.ts";
import type { ShapeInfo } from "../graph/shape-functions.ts";

/** A graph with what probing told about it: all that finding attention needs. */
export interface AttentionContext {
  readonly graph: Graph;
  readonly first: Probe;
  /** The same graph at other sizes; undefined if it runs at one only. */
  readonly second: Probe | undefined;
  /** Values that depend on what is fed, not only on its shape. */
  readonly dynamic: ReadonlySet<string>;
}

export function makeContext(graph: Graph, first: Probe, second: Probe | undefined): AttentionContext {
  return { graph, first, second, dynamic: dynamicValues(graph) };
}

function dynamicValues(graph: Graph): Set<string> {
  const dynamic = new Set(graph.inputs.map(({ name }) => name));
  for (const node of graph.nodes) {
    if (node.opType === "Shape" || node.opType === "Size" || node.opType === "ConstantOfShape") continue;
    if ([...valuesRead(node)].some((value) => dynamic.has(value)))
      for (const output of node.output) dynamic.add(output);
  }
  return dynamic;
}

export function shapeOf(context: AttentionContext, value: string): ShapeInfo | undefined {
  return context.first.info.get(value);
}

export function dimsOf(context: AttentionContext, value: string): readonly number[] | undefined {
  return context.first.info.get(value)?.dims;
}

/** Whether an axis of a value has another size in the second probe. False where there is none. */
export function varies(context: AttentionContext, value: string, axis: number): boolean {
  const one = dimsOf(context, value)?.[axis];
  const two = context.second?.info.get(value)?.dims[axis];
  return one !== undefined && two !== undefined && one !== two;
}

/** The nodes that `values` depend on through data, up to graph inputs and constants, without those in `stop`. */
export function ancestors(graph: Graph, values: Iterable<string>, stop: (value: string) => boolean): Set<NodeProto> {
  const found = new Set<NodeProto>();
  const pending = [...values];
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    if (value === "" || stop(value)) continue;
    const node = graph.producer(value);
    if (node === undefined || found.has(node)) continue;
    found.add(node);
    pending.push(...valuesRead(node));
  }
  return found;
}
