import { createMessage } from "@favor/onnx";
import type { ModelProto, NodeProto, TensorProto } from "@favor/onnx";
import { valuesRead } from "@favor/onnx/graph";
import type { Graph } from "@favor/onnx/graph";

/**
 * The part of a model that computes some of its values, which are its outputs. Nodes and weights that none of them needs
 * are left out.
 *
 * @param outputs - names of values that nodes compute; their types are left to the runtime.
 * @param added - further nodes, behind those of the model, and what they read.
 */
export function modelOf(
  outputs: readonly string[],
  { model, graph }: { readonly model: ModelProto; readonly graph: Graph },
  added: { readonly nodes: readonly NodeProto[]; readonly initializers: readonly TensorProto[] } = none,
): ModelProto {
  const nodes = [...model.graph.node, ...added.nodes];
  const needed = neededFor(new Set(outputs), nodes);
  return {
    ...model,
    graph: {
      ...model.graph,
      node: nodes.filter((node) => node.output.some((value) => needed.has(value))),
      // Old exports also list weights as inputs; without this, they would have to be fed.
      input: model.graph.input.filter(({ name }) => needed.has(name) && graph.initializer(name) === undefined),
      initializer: [...model.graph.initializer, ...added.initializers].filter(({ name }) => needed.has(name)),
      // onnxruntime infers the types.
      output: outputs.map((name) => createMessage("ValueInfoProto", { name })),
      valueInfo: [],
    },
  };
}

const none = { nodes: [], initializers: [] };

/** The values that the outputs depend on, these included. */
function neededFor(outputs: ReadonlySet<string>, nodes: readonly NodeProto[]): Set<string> {
  const producers = new Map(nodes.flatMap((node) => node.output.map((output) => [output, node] as const)));
  const needed = new Set(outputs);
  // The set grows while it is walked.
  for (const value of needed) {
    const node = producers.get(value);
    if (node !== undefined) for (const read of valuesRead(node)) needed.add(read);
  }
  return needed;
}
