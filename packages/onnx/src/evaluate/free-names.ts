import type { GraphProto, NodeProto } from "../model/proto.ts";
import { bodies, valuesAbove, valuesRead } from "../model/walk.ts";
import type { Tensor } from "./tensor.ts";

/**
 * The bodies that a node is known to run. For an If, this is the branch that it takes, or none while the condition is
 * unknown.
 */
export function bodiesToRun(node: NodeProto, known: (name: string) => Tensor | null | undefined): GraphProto[] {
  if (node.opType !== "If" || (node.domain !== "" && node.domain !== "ai.onnx")) return bodies(node);
  const condition = known(node.input[0] ?? "");
  if (condition === undefined || condition === null) return [];
  const name = condition.data[0] !== 0 ? "then_branch" : "else_branch";
  return node.attribute.flatMap((attribute) => (attribute.name === name && attribute.g !== null ? [attribute.g] : []));
}

/** Names that a body takes from the graphs around it, and that its outputs depend on. */
export function freeNames(body: GraphProto): string[] {
  const producers = new Map<string, NodeProto>();
  for (const node of body.node) for (const output of node.output) producers.set(output, node);
  const own = new Set([...body.input, ...body.initializer].map(({ name }) => name));
  const outputs = body.output.map(({ name }) => name);
  const producer = (name: string): NodeProto | undefined => (own.has(name) ? undefined : producers.get(name));
  const free = new Set<string>();
  for (const [name, node] of valuesAbove(outputs, producer, valuesRead)) {
    if (node === undefined && !own.has(name)) free.add(name);
  }
  return [...free];
}
