import type { GraphProto, NodeProto } from "@favor/onnx";
import { GraphError } from "@favor/onnx/graph";
import { graphProbe, type GraphProbe } from "@favor/onnx/graph";
import { readsData } from "@favor/onnx/graph";
import type { Graph } from "@favor/onnx/graph";
import type { Probe, ProbePair } from "@favor/onnx/graph";
import { maskOrigins, type MaskOrigins } from "./mask-origins.ts";
import type { ShapeInfo } from "@favor/onnx/graph";

/** A graph with what probing told about it: all that finding attention needs. */
export interface AttentionContext {
  /** The main graph or a body; a body's `root` has the inputs that are fed. */
  readonly graph: Graph;
  readonly first: GraphProbe;
  /** The same graph at other sizes; undefined if it runs at one only. */
  readonly second: GraphProbe | undefined;
  /** Values that depend on what is fed, not only on its shape. Of a body, those that it sees from outside too. */
  readonly dynamic: Values;
  /** Operations that evaluating the masks of the whole model has taken, and may take. */
  readonly spent: { operations: number; readonly most: number };
  /** Steps that following the wiring of the whole model has taken; see {@link countSteps}. */
  readonly steps: { taken: number; readonly most: number };
  /** Where masks come from. */
  readonly origins: MaskOrigins;
}

/** A set of names of values. */
export interface Values {
  has(value: string): boolean;
}

/**
 * Operations that all masks of a model may take together, about a second's: graphs can be written that take hours. A
 * mask of 1,024 positions for each query and key, alike for all heads and layers, takes some 3 * 10^7.
 */
export const maskOperations = 4e7;

/**
 * Steps from node to node that finding the attention of a model may take, some ten seconds' of them: graphs can be
 * written in which every attention is a long way from what it has to be told by. A model of a hundred layers takes some
 * hundred thousand.
 */
export const wiringSteps: number = 2 ** 25;

export function makeContext(
  graph: Graph,
  first: Probe,
  second: Probe | undefined,
  most: number = maskOperations,
): AttentionContext {
  return {
    graph,
    first,
    second,
    dynamic: dynamicValues(graph),
    spent: { operations: 0, most },
    steps: { taken: 0, most: wiringSteps },
    origins: maskOrigins(graph, first),
  };
}

/**
 * Counts steps from node to node.
 *
 * @throws GraphError "graph-too-large" beyond {@link wiringSteps}
 */
export function countSteps({ steps }: AttentionContext, count: number = 1): void {
  steps.taken += count;
  if (steps.taken <= steps.most) return;
  throw new GraphError(
    "graph-too-large",
    `Favor followed ${steps.taken} wires between nodes without coming to the end of the model's attention; the limit ` +
      `is ${steps.most}. Models take less than a hundredth of it. Simplify the model first (onnxsim), or check where ` +
      "the file is from.",
    { found: steps.taken, limit: steps.most },
  );
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
  const { spent, steps } = outer;
  const origins = maskOrigins(graph, first, outer.origins);
  return { graph, first, second, dynamic: dynamicValues(graph, outer.dynamic), spent, steps, origins };
}

function dynamicValues(graph: Graph, outer?: Values): Values {
  const own = new Set(graph.inputs.map(({ name }) => name));
  const dynamic: Values = outer === undefined ? own : { has: (value) => own.has(value) || outer.has(value) };
  for (const node of graph.nodes) {
    if (node.opType === "ConstantOfShape") continue;
    if (isReading(node, dynamic)) for (const output of node.output) own.add(output);
  }
  return dynamic;
}

function isReading(node: NodeProto, values: Values): boolean {
  for (const value of readsData(node)) if (values.has(value)) return true;
  return false;
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
