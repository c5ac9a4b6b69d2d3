import type { ModelProto, NodeProto, TensorProto } from "@favor/onnx";

import { Graph, valuesRead } from "@favor/onnx/graph";
import { isFeatureInitializer } from "../model/feature-initializers.ts";
import { ValueNumbers, operatorOf } from "./value-numbers.ts";

/** An attention whose output a student learns to reproduce from the teacher's activations. */
export interface DifferingSite {
  /** The attention's output, with the same name in both graphs: the student's last value and the teacher's target. */
  readonly output: string;
  /** The nodes that depend on feature maps, in topological order, and the constants that they read. */
  readonly nodes: readonly NodeProto[];
  /** Initializers of the feature maps, which are trained. */
  readonly trainable: readonly TensorProto[];
  /** The other initializers that the nodes read. */
  readonly constants: readonly TensorProto[];
  /** Values that the nodes read and that do not depend on feature maps. The teacher computes them. */
  readonly operands: readonly string[];
}

/** A model with the wiring of its main graph. */
export interface ComparedModel {
  readonly model: ModelProto;
  readonly graph: Graph;
}

/** Where a converted model differs from its original. */
export interface Difference {
  readonly original: ComparedModel;
  readonly converted: ComparedModel;
  readonly sites: readonly DifferingSite[];
  /**
   * The value of the original that equals a value of the converted graph for every input, provided that all earlier
   * attention equals the original's; undefined if that is not proved.
   */
  same(value: string): string | undefined;
}

/**
 * Finds the attention that a conversion replaced, from the structure of both graphs. Values are the same if global value
 * numbering says so (see {@link ValueNumbers}). If different operators compute a value of the same name, the conversion
 * replaced one computation by another: from there on the original's value is used (teacher forcing), and the nodes between
 * it and the same values are the site.
 *
 * @param original - with local functions and fused operators written out as the conversion saw them (`normaliseModel`).
 */
export function differingSites(original: ModelProto, converted: ModelProto): Difference {
  const [from, to] = [Graph.of(original), Graph.of(converted)];
  const numbers = new ValueNumbers();
  const originals = numbers.of(from);
  const names = new Map([...originals].map(([name, number]) => [number, name]));
  const replaced: string[] = [];
  const students = numbers.of(to, (output, node, number) => {
    const counterpart = from.producer(output);
    if (names.has(number) || counterpart === undefined || isSameOperator(counterpart, node)) return number;
    replaced.push(output);
    return originals.get(output)!;
  });
  const same = (value: string): string | undefined => names.get(students.get(value) ?? -1);
  const sites = replaced.map((output) => siteOf(output, to, same)).filter(({ trainable }) => trainable.length > 0);
  return { original: { model: original, graph: from }, converted: { model: converted, graph: to }, sites, same };
}

function isSameOperator(a: NodeProto, b: NodeProto): boolean {
  const [one, other] = [operatorOf(a), operatorOf(b)];
  return one.length === other.length && one.every((part, i) => part === other[i]);
}

/** The nodes between same values and the output, divided by whether they depend on feature maps. */
function siteOf(output: string, graph: Graph, same: (value: string) => string | undefined): DifferingSite {
  const cone = coneOf(output, graph, same);
  const reached = new Set<string>();
  for (const node of cone) {
    if (![...valuesRead(node)].some((value) => reached.has(value) || isFeatureInitializer(value))) continue;
    for (const value of node.output) reached.add(value);
  }
  const isStudent = (node: NodeProto): boolean => node.output.some((value) => reached.has(value));
  const nodes = new Set(cone.filter(isStudent));
  const operands = new Set<string>();
  const initializers = new Set<TensorProto>();
  for (const node of nodes) {
    // The loop also visits the Constant nodes that it adds to the set.
    for (const value of valuesRead(node)) {
      const initializer = graph.initializer(value);
      const producer = graph.producer(value);
      if (reached.has(value)) continue;
      if (initializer !== undefined) initializers.add(initializer);
      else if (producer?.opType === "Constant") nodes.add(producer);
      else operands.add(value);
    }
  }
  return {
    output,
    nodes: graph.nodes.filter((node) => nodes.has(node)),
    trainable: [...initializers].filter(({ name }) => isFeatureInitializer(name)),
    constants: [...initializers].filter(({ name }) => !isFeatureInitializer(name)),
    operands: [...operands],
  };
}

/** The nodes that the output depends on, back to same values, in topological order. */
function coneOf(output: string, graph: Graph, same: (value: string) => string | undefined): NodeProto[] {
  const cone = new Set<NodeProto>();
  const pending = [output];
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    const node = value === output || same(value) === undefined ? graph.producer(value) : undefined;
    if (node === undefined || cone.has(node)) continue;
    cone.add(node);
    pending.push(...valuesRead(node));
  }
  return graph.nodes.filter((node) => cone.has(node));
}
