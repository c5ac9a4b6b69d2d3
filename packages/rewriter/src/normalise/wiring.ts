import { GraphError } from "@favor/onnx/graph";
import { bodies, describeNode } from "@favor/onnx/graph";
import type { GraphProto, ModelProto, NodeProto } from "@favor/onnx";

/** A graph's values, and those of the graph around it. */
interface Scope {
  readonly graph: GraphProto;
  readonly values: ReadonlySet<string>;
  readonly outer: Scope | undefined;
}

/**
 * Requires that in every graph of the model, each value has one producer, and each value that is read has one there or in
 * an outer graph. Works without recursion, because bodies may be nested as deeply as the decoder allows.
 *
 * @throws GraphError "duplicate-value" and "undefined-value"
 */
export function checkWiring(model: ModelProto): void {
  const pending: Scope[] = [scopeOf(model.graph, undefined)];
  for (let scope = pending.pop(); scope !== undefined; scope = pending.pop()) {
    for (const node of scope.graph.node) {
      for (const value of node.input) if (value !== "" && !isVisible(scope, value)) throw undefinedValue(value, node);
      for (const body of bodies(node)) pending.push(scopeOf(body, scope));
    }
    for (const { name } of scope.graph.output) if (!isVisible(scope, name)) throw undefinedValue(name, undefined);
  }
}

function scopeOf(graph: GraphProto, outer: Scope | undefined): Scope {
  // An initializer of an input's name is the input's default.
  const values = new Set([...graph.input, ...graph.initializer].map(({ name }) => name));
  for (const { values: sparse } of graph.sparseInitializer) if (sparse) values.add(sparse.name);
  for (const node of graph.node) {
    for (const value of node.output) {
      if (value !== "" && values.has(value)) {
        throw new GraphError(
          "duplicate-value",
          `${describeNode(node)} makes "${value}", but another node makes it too, or it is an input or initializer. Its ` +
            "readers are ambiguous. Export the model again, or check it with onnx.checker.",
          { value, node: node.name },
        );
      }
      values.add(value);
    }
  }
  return { graph, values, outer };
}

function isVisible(scope: Scope, value: string): boolean {
  for (let at: Scope | undefined = scope; at !== undefined; at = at.outer) if (at.values.has(value)) return true;
  return false;
}

function undefinedValue(value: string, reader: NodeProto | undefined): GraphError {
  const who = reader === undefined ? "is an output of the graph" : `is read by ${describeNode(reader)}`;
  return new GraphError(
    "undefined-value",
    `"${value}" ${who}, but no node makes it, and it is not an input or initializer. Export the model again, or check it ` +
      "with onnx.checker.",
    { value, ...(reader !== undefined && { node: reader.name }) },
  );
}
