import { DataType } from "@favor/onnx";
import { tensorOf } from "@favor/onnx/evaluate";
import { node } from "@favor/test-support/nodes";
import { float32, signed, type AttributeValue, type GradientCase } from "./case.ts";

/** in0 (1 + what the operator makes of in0 and in1, as floats): the gradient is that factor. */
function factor(
  op: string,
  second: GradientCase["inputs"],
  attributes: Record<string, AttributeValue> = {},
): GradientCase {
  const inputs = ["in0", ...second.map((_, i) => `in${i + 1}`)];
  return {
    op,
    inputs: [signed(3, 4), ...second],
    nodes: [
      node(op, inputs, ["made"], attributes),
      node("Cast", ["made"], ["factor"], { to: DataType.DOUBLE }),
      node("Mul", ["in0", "factor"], ["product"]),
      node("Add", ["in0", "product"], ["out0"]),
    ],
  };
}

/** The same for an operator of booleans, which are comparisons of in0. */
function ofBooleans(op: string, inputs: string[]): GradientCase {
  const { nodes = [], ...rest } = factor("Less", [float32([], [0.5])]);
  return {
    ...rest,
    op,
    nodes: [
      node("Less", ["in0", "in1"], ["low"]),
      node("Greater", ["in0", "in1"], ["high"]),
      node(op, inputs, ["made"]),
      ...nodes.slice(1),
    ],
  };
}

/** Operators whose results are constant in steps: what is made of them has no gradient, the rest keeps its own. */
export const flatCases: readonly GradientCase[] = [
  ...["Greater", "GreaterOrEqual", "Less", "LessOrEqual"].map((op) => factor(op, [float32([4], [0.5, -1, 1, 0])])),
  { ...ofBooleans("Equal", ["low", "high"]), form: "of booleans" },
  ...["Ceil", "Floor", "Round", "Sign", "IsNaN", "IsInf", "Hardmax"].map((op) => factor(op, [])),
  ...["ArgMax", "ArgMin"].map((op) => factor(op, [], { axis: 1 })),
  ...["And", "Or", "Xor"].map((op) => ofBooleans(op, ["low", "high"])),
  ofBooleans("Not", ["low"]),
  ...["QuantizeLinear", "com.microsoft:QuantizeLinear"].map((op) =>
    factor(op, [float32([4], [0.5, 0.1, 1, 0.02]), tensorOf(DataType.UINT8, [4], [128, 100, 3, 0])]),
  ),
  {
    op: "DynamicQuantizeLinear",
    inputs: [signed(3, 4), tensorOf(DataType.UINT8, [4, 3], [1, 9, 200, 4, 0, 7, 255, 30, 8, 1, 2, 3])],
    nodes: [
      node("DynamicQuantizeLinear", ["in0"], ["codes", "scale", "zero"]),
      node("MatMulInteger", ["codes", "in1", "zero"], ["sums"]),
      node("Cast", ["sums"], ["factor"], { to: DataType.DOUBLE }),
      node("MatMul", ["factor", "in0"], ["out0"]),
    ],
    opset: 13,
  },
];
