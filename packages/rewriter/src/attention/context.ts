import type { GraphProto } from "@favor/onnx";
import { graphProbe, type GraphProbe } from "@favor/onnx/graph";
import { readsData } from "@favor/onnx/graph";
import type { Graph } from "@favor/onnx/graph";
import type { Probe, ProbePair } from "@favor/onnx/graph";
import type { ShapeInfo } from "@favor/onnx/graph";

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

function dynamicValues(graph: Graph, outer: ReadonlySet<string>): Set<string> {
  const dynamic = new Set([...outer, ...graph.inputs.map(({ name }) => name)]);
  for (const node of graph.nodes) {
    if (node.opType === "ConstantOfShape") continue;
    const read = readsData(node);
    if ([...read].some((value) => dynamic.has(value))) for (const output of node.output) dynamic.add(output);
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
