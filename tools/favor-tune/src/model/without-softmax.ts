import { DataType, createMessage, makeTensor } from "@favor/onnx";
import type { ModelProto } from "@favor/onnx";

/**
 * Returns the model with the outputs of some attention nodes multiplied by zero, to measure the rest of a hybrid.
 *
 * @param nodes - names of the softmax nodes, or of fused attention operators.
 */
export function withoutSoftmax(model: ModelProto, nodes: ReadonlySet<string>): ModelProto {
  const { graph } = model;
  const zero = "favor/ablation_zero";
  const node = graph.node.flatMap((original) => {
    const [output = ""] = original.output;
    if (!nodes.has(original.name) || output === "") return [original];
    const kept = `${output}/ablated`;
    const product = createMessage("NodeProto", {
      opType: "Mul",
      name: `${original.name}/ablation`,
      input: [kept, zero],
      output: [output],
    });
    return [{ ...original, output: [kept, ...original.output.slice(1)] }, product];
  });
  const initializer = [...graph.initializer, makeTensor(zero, [], DataType.FLOAT, Float32Array.of(0))];
  return { ...model, graph: { ...graph, node, initializer } };
}
