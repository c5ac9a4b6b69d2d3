import { DataType, tensorShape } from "@favor/onnx";
import type { TensorProto } from "@favor/onnx";
import type { Graph } from "@favor/onnx/graph";

import { isFeatureInitializer } from "./feature-initializers.ts";

/** A weight, and whether weight decay applies to it: to matrices and embeddings, not to biases, norms and features. */
export interface TrainableInitializer {
  readonly name: string;
  readonly decays: boolean;
}

const floats: ReadonlySet<number> = new Set([DataType.FLOAT, DataType.FLOAT16, DataType.BFLOAT16, DataType.DOUBLE]);

/** Operators that multiply by a matrix or look up its rows, with the inputs that may be the matrix. */
const matrixInputs: Readonly<Record<string, readonly number[]>> = {
  MatMul: [0, 1],
  FusedMatMul: [0, 1],
  Gemm: [0, 1],
  Conv: [1],
  Gather: [0],
  Attention: [1],
  EmbedLayerNormalization: [2, 3, 4],
};

/** Operators that take a vector over the last axis: a bias, or the scale or shift of a norm. */
const vectorOperators: ReadonlySet<string> = new Set([
  "Add",
  "Sub",
  "Mul",
  "Div",
  "Gemm",
  "Conv",
  "Attention",
  "MultiHeadAttention",
  "BiasGelu",
  "FastGelu",
  "BiasAdd",
  "LayerNormalization",
  "SimplifiedLayerNormalization",
  "RMSNormalization",
  "SkipLayerNormalization",
  "SkipSimplifiedLayerNormalization",
  "EmbedLayerNormalization",
]);

/** Operators that pass a weight on. */
const carriers: ReadonlySet<string> = new Set(["Transpose", "Reshape", "Cast", "Identity", "Unsqueeze", "Squeeze"]);

/**
 * Finds the weights of a graph by the operators that read them: matrices of products, embedding tables, biases, scales and
 * shifts of norms, feature maps. Other stored floats are not trained: masks, rotary tables, constants.
 */
export function trainableInitializers(graph: Graph): TrainableInitializer[] {
  return graph.proto.initializer.flatMap((tensor) => {
    const { name } = tensor;
    if (!floats.has(tensor.dataType)) return [];
    if (isFeatureInitializer(name)) return [{ name, decays: false }];
    const role = roleOf(tensor, name, graph);
    return role === undefined ? [] : [{ name, decays: role === "matrix" }];
  });
}

function roleOf(tensor: TensorProto, value: string, graph: Graph): "matrix" | "vector" | undefined {
  const { dims } = tensorShape(tensor);
  const wide = dims.filter((dim) => dim > 1).length;
  for (const node of graph.consumers(value)) {
    const at = node.input.indexOf(value);
    const isMatrix = wide >= 2 && matrixInputs[node.opType]?.includes(at) === true;
    if (isMatrix && !(node.opType === "Gather" && isMultiplied(node.output[0]!, graph))) return "matrix";
    if (wide === 1 && dims.at(-1)! > 1 && vectorOperators.has(node.opType)) return "vector";
    const carried = carriers.has(node.opType) && at === 0 ? roleOf(tensor, node.output[0]!, graph) : undefined;
    if (carried !== undefined) return carried;
  }
  return undefined;
}

/** Whether looked-up rows are used as factors, as the cosines and sines of rotary positions are. */
function isMultiplied(value: string, graph: Graph): boolean {
  return graph
    .consumers(value)
    .some(
      (node) =>
        (node.opType === "Mul" && node.input.every((input) => input !== "")) ||
        (carriers.has(node.opType) && isMultiplied(node.output[0]!, graph)),
    );
}
