import { DataType } from "@favor/onnx";
import { node } from "@favor/test-support/nodes";
import { between, bool, float32, list, positive, signed, smooth, type GradientCase } from "./case.ts";

const unary = (op: string, input = signed(2, 5), attributes: GradientCase["attributes"] = {}): GradientCase => {
  return { op, inputs: [input], attributes };
};

/** Both operands of one shape, and broadcast both ways. */
const binary = (op: string, input = signed): GradientCase[] => [
  { op, inputs: [input(2, 3), input(2, 3)] },
  { op, form: "broadcasting", inputs: [input(2, 1, 3), input(4, 1)] },
];

const arithmetic: GradientCase[] = [
  ...binary("Add"),
  ...binary("Sub"),
  ...binary("Mul"),
  ...binary("Div"),
  ...binary("Max"),
  ...binary("Min"),
  { op: "Max", form: "of a bound", inputs: [signed(2, 5), float32([], [0.5])] },
  { op: "Min", form: "of a bound", inputs: [float32([1], [0.5]), signed(2, 5)] },
  { op: "Sum", inputs: [signed(2, 3), signed(3), signed(2, 1)] },
  { op: "Mean", inputs: [signed(2, 3), signed(3), signed(2, 1)] },
  { op: "Mod", attributes: { fmod: 1 }, inputs: [between(2.2, 2.8, 2, 3), between(0.9, 1.05, 3)] },
  { op: "Pow", inputs: [positive(2, 3), signed(3)] },
  { op: "Pow", form: "square of negatives", inputs: [signed(2, 3), float32([], [2])] },
  { op: "Pow", form: "cube", inputs: [signed(2, 3), float32([1], [3])] },
  { op: "Pow", form: "square root", inputs: [positive(2, 3), float32([], [0.5])] },
  { op: "Pow", form: "inverse root", inputs: [positive(2, 3), float32([], [-0.5])] },
  { op: "Pow", form: "inverse", inputs: [signed(2, 3), float32([], [-1])] },
  ...["Neg", "Abs", "Reciprocal", "Exp", "Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Asinh"].map((op) =>
    unary(op, between(0.2, 1.2, 2, 5)),
  ),
  ...["Asin", "Acos", "Atanh"].map((op) => unary(op, between(-0.8, 0.8, 2, 5))),
  ...["Sqrt", "Log"].map((op) => unary(op, positive(2, 5))),
  unary("Acosh", between(1.2, 3, 2, 5)),
  {
    op: "Div",
    form: "of numbers whose squares are 0 in float32",
    inputs: [signed(2, 3), signed(3), float32([], [1e-25])],
    nodes: [
      node("Mul", ["in0", "in2"], ["dividend"]),
      node("Mul", ["in1", "in2"], ["divisor"]),
      node("Div", ["dividend", "divisor"], ["out0"]),
    ],
  },
  {
    op: "Reciprocal",
    form: "of numbers whose squares are 0 in float32",
    inputs: [signed(2, 5), float32([], [1e-25])],
    nodes: [
      node("Mul", ["in0", "in1"], ["divisor"]),
      node("Reciprocal", ["divisor"], ["large"]),
      node("Mul", ["large", "in1"], ["out0"]),
    ],
  },
];

const activations: GradientCase[] = [
  ...["Erf", "Sigmoid", "Tanh", "Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Softplus", "Softsign"].map((op) =>
    unary(op),
  ),
  unary("Celu", signed(2, 5), { alpha: { float: 2 } }),
  unary("HardSigmoid"),
  unary("HardSwish"),
  unary("Mish"),
  { ...unary("Swish"), opset: 24 },
  unary("Gelu"),
  { ...unary("Gelu", signed(2, 5), { approximate: "tanh" }), form: "tanh" },
  { op: "PRelu", inputs: [signed(2, 3, 4), positive(3, 1)] },
  unary("ThresholdedRelu", signed(2, 5), { alpha: { float: 0.2 } }),
  unary("Shrink", signed(2, 5), { lambd: { float: 0.2 }, bias: { float: 0.1 } }),
  { op: "Clip", inputs: [signed(2, 5), float32([], [-1]), float32([], [1])] },
  { op: "Dropout", inputs: [signed(2, 5)] },
  { op: "com.microsoft:Gelu", inputs: [smooth(2, 5)] },
  { op: "com.microsoft:QuickGelu", inputs: [signed(2, 5)] },
  { op: "com.microsoft:BiasGelu", inputs: [signed(2, 5), smooth(5)] },
  { op: "com.microsoft:FastGelu", inputs: [signed(2, 5), smooth(5)] },
  { op: "com.microsoft:FastGelu", form: "without bias", inputs: [signed(2, 5)] },
];

const choices: GradientCase[] = [
  { op: "Where", inputs: [bool([2, 3], [1, 0, 0, 1, 1, 0]), signed(2, 3), signed(2, 3)] },
  { op: "Where", form: "broadcasting", inputs: [bool([2, 1, 1], [1, 0]), signed(3, 1), signed(2, 1, 4)] },
  { op: "Where", form: "infinite constant", inputs: [bool([2, 3], [1, 0, 0, 1, 1, 0]), signed(2, 3), signed(1)] },
  { op: "Cast", inputs: [signed(2, 3)], attributes: { to: DataType.DOUBLE } },
  { op: "CastLike", inputs: [signed(2, 3), float32([], [1])] },
  { op: "CumSum", form: "last axis", inputs: [signed(2, 5), list(1)] },
  { op: "CumSum", form: "first axis, exclusive", inputs: [signed(4, 3), list(0)], attributes: { exclusive: 1 } },
  { op: "CumSum", form: "reverse", inputs: [signed(2, 4, 3), list(1)], attributes: { reverse: 1 } },
  {
    op: "CumSum",
    form: "reverse, exclusive",
    inputs: [signed(2, 4), list(-1)],
    attributes: { reverse: 1, exclusive: 1 },
  },
  { op: "CumProd", inputs: [signed(2, 4), list(1)], opset: 26 },
  { op: "CumProd", form: "reverse", inputs: [signed(3, 2), list(0)], opset: 26, attributes: { reverse: 1 } },
];

/** One element at a time, and choices between elements. */
export const elementwiseCases: readonly GradientCase[] = [...arithmetic, ...activations, ...choices];
