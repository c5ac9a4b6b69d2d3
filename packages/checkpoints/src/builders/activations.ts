import { CheckpointError } from "../formats/errors.ts";
import type { GraphWriter } from "./graph-writer.ts";

type Activation = (graph: GraphWriter, x: string) => string;

/** x/2 (1 + erf(x / sqrt 2)) */
const gelu: Activation = (graph, x) => {
  const erf = graph.op("Erf", [graph.op("Div", [x, graph.scalar(Math.SQRT2)])]);
  const product = graph.op("Mul", [x, graph.op("Add", [erf, graph.scalar(1)])]);
  return graph.op("Mul", [product, graph.scalar(0.5)]);
};

/** x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), Hendrycks and Gimpel's approximation */
const tanhGelu: Activation = (graph, x) => {
  const cube = graph.op("Mul", [graph.op("Mul", [x, x]), x]);
  const sum = graph.op("Add", [x, graph.op("Mul", [cube, graph.scalar(0.044715)])]);
  const tanh = graph.op("Tanh", [graph.op("Mul", [sum, graph.scalar(Math.sqrt(2 / Math.PI))])]);
  return graph.op("Mul", [graph.op("Mul", [x, graph.scalar(0.5)]), graph.op("Add", [tanh, graph.scalar(1)])]);
};

/** x sigmoid(factor x) */
const sigmoidWeighted =
  (factor: number): Activation =>
  (graph, x) => {
    const scaled = factor === 1 ? x : graph.op("Mul", [x, graph.scalar(factor)]);
    return graph.op("Mul", [x, graph.op("Sigmoid", [scaled])]);
  };

const single =
  (opType: string): Activation =>
  (graph, x) =>
    graph.op(opType, [x]);

/** Activations by their names in transformers' `ACT2FN`. */
const activations: ReadonlyMap<string, Activation> = new Map([
  ["gelu", gelu],
  ["gelu_python", gelu],
  ["gelu_new", tanhGelu],
  ["gelu_fast", tanhGelu],
  ["gelu_pytorch_tanh", tanhGelu],
  ["gelu_python_tanh", tanhGelu],
  ["quick_gelu", sigmoidWeighted(1.702)],
  ["silu", sigmoidWeighted(1)],
  ["swish", sigmoidWeighted(1)],
  ["relu", single("Relu")],
  ["sigmoid", single("Sigmoid")],
  ["tanh", single("Tanh")],
]);

/**
 * Applies the elementwise activation that transformers calls `name`.
 *
 * @throws CheckpointError "unsupported-activation"
 */
export function activation(graph: GraphWriter, name: string, x: string): string {
  const write = activations.get(name);
  if (write !== undefined) return write(graph, x);
  throw new CheckpointError(
    "unsupported-activation",
    `config.json names the activation ${JSON.stringify(name)}. Supported are ${[...activations.keys()].join(", ")}.`,
    { activation: name },
  );
}
