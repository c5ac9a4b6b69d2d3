import { AttributeType, type GraphProto, type NodeProto } from "../model/proto.ts";
import type { Tensor } from "./tensor.ts";

function bodiesOf(node: NodeProto): GraphProto[] {
  return node.attribute.flatMap((attribute) => [
    ...(attribute.type === AttributeType.GRAPH && attribute.g !== null ? [attribute.g] : []),
    ...attribute.graphs,
  ]);
}

/**
 * The bodies that a node will run, as far as is known: of an If whose condition is not known yet, none; then the one
 * branch that it takes.
 */
export function bodiesToRun(node: NodeProto, known: (name: string) => Tensor | null | undefined): GraphProto[] {
  if (node.opType !== "If" || (node.domain !== "" && node.domain !== "ai.onnx")) return bodiesOf(node);
  const condition = known(node.input[0] ?? "");
  if (condition === undefined || condition === null) return [];
  const name = condition.data[0] !== 0 ? "then_branch" : "else_branch";
  return node.attribute.flatMap((attribute) => (attribute.name === name && attribute.g !== null ? [attribute.g] : []));
}

/** Names that the outputs of a body depend on and that it takes from the graphs around it. */
export function freeNames(body: GraphProto): string[] {
  const producers = new Map<string, NodeProto>();
  for (const node of body.node) for (const output of node.output) producers.set(output, node);
  const own = new Set([...body.input.map(({ name }) => name), ...body.initializer.map(({ name }) => name), ""]);
  const free = new Set<string>();
  const seen = new Set<NodeProto>();
  const pending = body.output.map(({ name }) => name);
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (own.has(name)) continue;
    const node = producers.get(name);
    if (node === undefined) free.add(name);
    else if (!seen.has(node)) {
      seen.add(node);
      for (const read of node.input) pending.push(read);
      for (const read of namesReadInside(node)) pending.push(read);
    }
  }
  return [...free];
}

/** Names that the bodies of a node read, at any depth, and do not define; ONNX lets no name be defined twice. */
function namesReadInside(node: NodeProto): string[] {
  const defined = new Set<string>();
  const read = new Set<string>();
  const graphs = bodiesOf(node);
  for (let graph = graphs.pop(); graph !== undefined; graph = graphs.pop()) {
    for (const { name } of graph.input) defined.add(name);
    for (const { name } of graph.initializer) defined.add(name);
    for (const { name } of graph.output) read.add(name);
    for (const inner of graph.node) {
      for (const name of inner.input) read.add(name);
      for (const name of inner.output) defined.add(name);
      for (const innermost of bodiesOf(inner)) graphs.push(innermost);
    }
  }
  return [...read].filter((name) => !defined.has(name));
}
