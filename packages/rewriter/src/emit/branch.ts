import { createMessage, type GraphProto } from "@favor/onnx";
import { NodeBuilder } from "@favor/onnx/graph";
import { valueInfo, type BodyValue } from "./body-value.ts";

/** Writes a branch's nodes, and returns the value that it gives. */
type Write = (inner: NodeBuilder) => string;

/**
 * An If. Its branches read what they need from the graph around it.
 *
 * @param condition a boolean, as a list of one
 */
export function branch(
  build: NodeBuilder,
  condition: string,
  then: Write,
  otherwise: Write,
  output: BodyValue,
): string {
  const body = (name: string, write: Write): GraphProto => {
    const proto = createMessage("GraphProto", { name });
    const inner = new NodeBuilder(build.graph.body(proto), "favor");
    const value = write(inner);
    proto.node = [...inner.nodes];
    proto.initializer = [...inner.initializers];
    proto.output = [valueInfo(value, output)];
    inner.graph.reindex();
    return proto;
  };
  return build.op("If", [build.squeeze(condition, [0])], {
    then_branch: { graph: body("favor_then", then) },
    else_branch: { graph: body("favor_else", otherwise) },
  });
}
