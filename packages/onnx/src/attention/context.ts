import type { GraphProto, NodeProto } from "../model/proto.ts";
import { valuesRead } from "../graph/topological-order.ts";
import type { Graph } from "../graph/graph.ts";
import type { Probe, ProbePair, ProbeSizes } from "../graph/probe.ts";
import type { ShapeInfo } from "../graph/shape-info.ts";

/** What one probe tells of a graph: the model's main graph, or a body of If, Loop or Scan. */
export interface GraphProbe {
  readonly sizes: ProbeSizes;
  readonly info: ReadonlyMap<string, ShapeInfo>;
}

/** A graph with what probing told about it: all that finding attention needs. */
export interface AttentionContext {
  /** The main graph or a body; a body's `root` has the inputs that are fed. */
  readonly graph: Graph;
  readonly first: GraphProbe;
  /** The same graph at other sizes; undefined if it runs at one only. */
  readonly second: GraphProbe | undefined;
  /** Values that depend on what is fed, not only on its shape. Of a body, those that it sees from outside too. */
  readonly dynamic: ReadonlySet<string>;
  /** Operations that evaluating the masks of the whole model has taken, and may take. */
  readonly spent: { operations: number; readonly most: number };
}

/**
 * Operations that all masks of a model may take together, about a second's: graphs can be written that take hours. A
 * mask of 1,024 positions for each query and key, alike for all heads and layers, takes some 3 * 10^7.
 */
export const maskOperations = 4e7;

export function makeContext(
  graph: Graph,
  first: Probe,
  second: Probe | undefined,
  most: number = maskOperations,
): AttentionContext {
  return { graph, first, second, dynamic: dynamicValues(graph, new Set()), spent: { operations: 0, most } };
}

/** The context of a body that a node of the context's graph carries; undefined if it does not run at the probed sizes. */
export function bodyContext(
  outer: AttentionContext,
  body: GraphProto,
  probes: ProbePair,
): AttentionContext | undefined {
  const graph = outer.graph.body(body);
  const first = graphProbe(graph, probes.first);
  if (first === undefined) return undefined;
  const second = probes.second && graphProbe(graph, probes.second);
  return { graph, first, second, dynamic: dynamicValues(graph, outer.dynamic), spent: outer.spent };
}

/** What a probe of the model says of one of its graphs; undefined for a body that it did not run. */
export function graphProbe(graph: Graph, { sizes, info, bodies }: Probe): GraphProbe | undefined {
  const own = graph.outer === undefined ? info : bodies.get(graph.proto);
  return own && { sizes, info: own };
}

function dynamicValues(graph: Graph, outer: ReadonlySet<string>): Set<string> {
  const dynamic = new Set([...outer, ...graph.inputs.map(({ name }) => name)]);
  for (const node of graph.nodes) {
    if (node.opType === "ConstantOfShape") continue;
    const read = readsData(node);
    if ([...read].some((value) => dynamic.has(value))) for (const output of node.output) dynamic.add(output);
  }
  return dynamic;
}

/** The values whose contents a node reads, not only their shape or type. */
export function readsData(node: NodeProto): ReadonlySet<string> {
  if (node.opType === "Shape" || node.opType === "Size") return new Set();
  if (node.opType === "CastLike") return new Set(node.input.slice(0, 1));
  return valuesRead(node);
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
