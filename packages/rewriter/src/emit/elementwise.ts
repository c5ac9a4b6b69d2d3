import type { ElementwiseFunction } from "@favor/core";
import type { NodeBuilder } from "@favor/onnx/graph";

type Emit = (build: NodeBuilder, x: string) => string;

const operator =
  (opType: string): Emit =>
  (build, x) =>
    build.op(opType, [x]);

/** The elementwise functions of generalized attention as nodes; each the same as `elementwiseFunctions` of core. */
export const elementwiseNodes: Readonly<Record<ElementwiseFunction, Emit>> = {
  relu: operator("Relu"),
  exp: operator("Exp"),
  abs: operator("Abs"),
  cos: operator("Cos"),
  gelu: (build, x) => {
    const cube = build.op("Mul", [build.op("Mul", [x, x]), x]);
    const inner = build.op("Add", [x, build.op("Mul", [cube, build.scalar(0.044715)])]);
    const tanh = build.op("Tanh", [build.op("Mul", [inner, build.scalar(Math.sqrt(2 / Math.PI))])]);
    return build.op("Mul", [build.op("Mul", [x, build.scalar(0.5)]), build.op("Add", [tanh, build.scalar(1)])]);
  },
  identity: (_, x) => x,
  sigmoid: operator("Sigmoid"),
  softplus: operator("Softplus"),
  "squared-relu": (build, x) => {
    const positive = build.op("Relu", [x]);
    return build.op("Mul", [positive, positive]);
  },
  tanh: operator("Tanh"),
};
