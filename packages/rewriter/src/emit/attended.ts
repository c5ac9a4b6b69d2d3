import type { NodeBuilder } from "@favor/onnx/graph";

/** The value of masked logits: the lowest float32, so that a fully masked row stays finite. */
export const lowest = -3.4028234663852886e38;

/** softmax(logits) values, over the last axis of as many as `rank`. */
export function attended(build: NodeBuilder, logits: string, values: string, rank: number): string {
  // Before opset 13 the axes from `axis` on are flattened together; for the last axis that is the same.
  const axis = build.graph.opset >= 11 ? -1 : rank - 1;
  return build.op("MatMul", [build.op("Softmax", [logits], { axis: { int: axis } }), values]);
}
