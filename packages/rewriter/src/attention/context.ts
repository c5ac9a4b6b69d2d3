import type { GraphProto, NodeProto } from "@favor/onnx";
import type { Tensor } from "@favor/onnx/evaluate";
import { GraphError } from "@favor/onnx/graph";
import { graphProbe, type GraphProbe } from "@favor/onnx/graph";
import { readsData } from "@favor/onnx/graph";
import type { Graph } from "@favor/onnx/graph";
import type { Probe, ProbePair } from "@favor/onnx/graph";
import { maskOrigins, type MaskOrigins } from "./mask-origins.ts";
import type { ShapeInfo } from "@favor/onnx/graph";

/** A graph, and what probing found out about it: everything that the search for attention needs. */
export interface AttentionContext {
  /** The main graph or a body; a body's `root` has the inputs that are fed. */
  readonly graph: Graph;
  readonly first: GraphProbe;
  /** The same graph at other sizes; undefined if it runs at one only. */
  readonly second: GraphProbe | undefined;
  /** Values that depend on what is fed, not only on its shape. In a body, this includes the outer values it sees. */
  readonly dynamic: Values;
  /** Operations spent so far on evaluating the masks of the whole model, and their limit. */
  readonly spent: { operations: number; readonly most: number };
  /** The same of confirming what was found, at other sizes and with other inputs. */
  readonly confirming: { operations: number; readonly most: number };
  /** Steps taken so far along the wiring of the whole model, and their limit; see {@link countSteps}. */
  readonly steps: { taken: number; readonly most: number };
  /** Where masks come from. */
  readonly origins: MaskOrigins;
}

/** A set of names of values. */
interface Values {
  has(value: string): boolean;
}

/**
 * Limit of operations for all masks of a model together: about a second, because a graph can be written to take hours.
 * A mask of 1,024 x 1,024 positions that all heads and layers share takes some 3 * 10^7.
 */
export const maskOperations = 4e7;

/** How many times as many operations confirming the masks may take: some five million for each mask unlike the others. */
const confirmingShare = 40;

/**
 * Limit of steps from node to node in the search for attention: about ten seconds, because a graph can be written in
 * which every attention is far from the nodes that identify it. A model of a hundred layers takes some hundred thousand.
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
    confirming: { operations: 0, most: most * confirmingShare },
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
  const { spent, confirming, steps } = outer;
  const origins = maskOrigins(graph, first, outer.origins);
  return { graph, first, second, dynamic: dynamicValues(graph, outer.dynamic), spent, confirming, steps, origins };
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

/** Whether an axis of a value has another size in the second probe. False if there is no second probe. */
export function varies(context: AttentionContext, value: string, axis: number): boolean {
  const one = dimsOf(context, value)?.[axis];
  const two = context.second?.info.get(value)?.dims[axis];
  return one !== undefined && two !== undefined && one !== two;
}

/** A value that the sizes of the inputs decide, if it is the same at both probes. Undefined without a second probe. */
export function steadyValue({ first, second }: AttentionContext, value: string): Tensor | undefined {
  const [one, two] = [first, second].map((probe) => probe?.info.get(value)?.value);
  if (one === undefined || two === undefined || one.data.length !== two.data.length) return undefined;
  return one.data.every((entry, i) => entry === two.data[i]) ? one : undefined;
}
