import { node } from "@favor/test-support/nodes";
import { bool, float32, int64, list, positive, signed, smooth, type GradientCase } from "./case.ts";

const layout: GradientCase[] = [
  { op: "Identity", inputs: [signed(2, 3)] },
  { op: "Reshape", inputs: [signed(2, 6), list(3, -1)] },
  { op: "Flatten", inputs: [signed(2, 3, 2)], attributes: { axis: 2 } },
  { op: "Squeeze", inputs: [signed(2, 1, 3), list(1)] },
  { op: "Unsqueeze", inputs: [signed(2, 3), list(0, 2)] },
  { op: "Expand", inputs: [signed(2, 1, 3), list(2, 2, 4, 1)] },
  { op: "Transpose", inputs: [signed(2, 3, 4)], attributes: { perm: [2, 0, 1] } },
  {
    op: "Transpose",
    form: "of seven axes",
    inputs: [signed(1, 2, 1, 3, 2, 1, 2)],
    attributes: { perm: [6, 4, 3, 5, 0, 1, 2] },
  },
  { op: "Concat", inputs: [signed(2, 3), signed(2, 1), signed(2, 2)], attributes: { axis: 1 } },
  { op: "Split", inputs: [signed(2, 6), list(1, 3, 2)], outputs: 3, attributes: { axis: 1 } },
  { op: "Slice", inputs: [signed(4, 5), list(1), list(4), list(1), list(1)] },
  {
    op: "Slice",
    form: "in steps, backwards",
    inputs: [signed(4, 7), list(-1, 0), list(-9, 7), list(0, 1), list(-1, 3)],
  },
  { op: "Tile", inputs: [signed(2, 3), list(3, 2)] },
  { op: "Pad", inputs: [signed(2, 3), list(0, 1, 1, 2), float32([], [5])] },
  { op: "Pad", form: "negative", inputs: [signed(2, 5), list(0, -1, 0, -2)] },
  { op: "Pad", form: "reflecting", inputs: [signed(2, 5), list(0, 2, 0, 1)], attributes: { mode: "reflect" } },
  { op: "DepthToSpace", inputs: [signed(1, 8, 2, 1)], attributes: { blocksize: 2 } },
  { op: "SpaceToDepth", inputs: [signed(1, 2, 2, 4)], attributes: { blocksize: 2 } },
  { op: "Trilu", inputs: [signed(3, 4)], attributes: { upper: 0 } },
  { op: "ReverseSequence", inputs: [signed(4, 2), list(2, 4)], attributes: { batch_axis: 1, time_axis: 0 } },
];

const picking: GradientCase[] = [
  { op: "Gather", inputs: [signed(5, 3), int64([2, 2], [4, 0, -2, 4])] },
  { op: "Gather", form: "consecutive, inner axis", inputs: [signed(2, 5, 2), list(1, 2, 3)], attributes: { axis: 1 } },
  { op: "Gather", form: "inner axis", inputs: [signed(2, 5, 2), list(3, 0, 3)], attributes: { axis: 1 } },
  { op: "GatherElements", inputs: [signed(3, 2), int64([2, 2], [2, 0, 2, 1])] },
  { op: "GatherND", inputs: [signed(3, 2, 2), int64([2, 2], [2, 0, 1, 1])] },
  { op: "GatherND", form: "batched", inputs: [signed(2, 3, 2), int64([2, 1], [2, 1])], attributes: { batch_dims: 1 } },
  { op: "Compress", inputs: [signed(4, 2), bool([4], [1, 0, 1, 1])], attributes: { axis: 0 } },
  { op: "TopK", inputs: [signed(3, 5), list(2)], outputs: 2, floats: [0] },
  {
    op: "TopK",
    form: "smallest, first axis",
    inputs: [signed(5, 2), list(3)],
    outputs: 2,
    floats: [0],
    attributes: { axis: 0, largest: 0 },
  },
  { op: "Scatter", inputs: [signed(3, 3), int64([2, 3], [1, 0, 2, 0, 2, 1]), signed(2, 3)], opset: 10 },
  { op: "ScatterElements", inputs: [signed(2, 4), int64([2, 2], [1, 3, 0, 2]), signed(2, 2)], attributes: { axis: 1 } },
  {
    op: "ScatterElements",
    form: "adding, one place twice",
    inputs: [signed(2, 4), int64([2, 3], [1, 3, 1, 0, 2, 2]), signed(2, 3)],
    attributes: { axis: 1, reduction: "add" },
  },
  { op: "ScatterND", inputs: [signed(4, 2), int64([2, 1], [3, 1]), signed(2, 2)] },
  {
    op: "ScatterND",
    form: "adding",
    inputs: [signed(4, 2), int64([3, 1], [3, 1, 3]), signed(3, 2)],
    attributes: { reduction: "add" },
  },
  { op: "TensorScatter", inputs: [signed(2, 1, 4, 2), signed(2, 1, 2, 2), list(1, 2)], opset: 24 },
  { op: "OneHot", inputs: [list(1, 0, 3), list(3), signed(2)] },
];

const fused = { transA: 1, transB: 1, alpha: { float: 2 } };

const product: GradientCase[] = [
  { op: "MatMul", inputs: [signed(2, 3), signed(3, 4)] },
  { op: "MatMul", form: "of a weight", inputs: [signed(2, 2, 3), signed(3, 4)] },
  { op: "MatMul", form: "batches broadcast", inputs: [signed(2, 1, 2, 3), signed(3, 3, 2)] },
  { op: "MatMul", form: "a matrix per head", inputs: [signed(2, 3, 2, 4), signed(3, 4, 2)] },
  { op: "MatMul", form: "a matrix per head, on the left", inputs: [signed(3, 2, 4), signed(2, 3, 4, 2)] },
  { op: "MatMul", form: "a weight on the left", inputs: [signed(3, 2), signed(2, 2, 2, 2)] },
  { op: "MatMul", form: "of vectors", inputs: [signed(3), signed(2, 3, 2)] },
  { op: "MatMul", form: "of five axes", inputs: [signed(1, 2, 2, 2, 3), signed(1, 2, 2, 3, 1)] },
  {
    op: "Gemm",
    inputs: [signed(3, 2), signed(4, 3), signed(4)],
    attributes: { transA: 1, transB: 1, alpha: { float: 0.5 } },
  },
  { op: "Einsum", inputs: [signed(2, 3, 2), signed(2, 4, 3)], attributes: { equation: "bij,bki->bjk" } },
  {
    op: "Einsum",
    form: "heads",
    inputs: [signed(1, 3, 2, 4), signed(1, 5, 2, 4)],
    attributes: { equation: "aecd,abcd->acbe" },
  },
  { op: "Einsum", form: "sums", inputs: [signed(2, 3), signed(3)], attributes: { equation: "ij,j->i" } },
  {
    op: "com.microsoft:FusedMatMul",
    form: "heads",
    inputs: [signed(2, 2, 3, 2), signed(2, 1, 4, 3)],
    attributes: fused,
  },
  ...["FusedMatMul", "TransposeMatMul"].map((type) => ({
    op: `com.microsoft:${type}`,
    inputs: [signed(2, 3, 2), signed(2, 4, 3)],
    attributes: fused,
    // The evaluator knows the newer name alone.
    reference: [node("com.microsoft:FusedMatMul", ["in0", "in1"], ["out0"], fused)],
  })),
];

const reduced = (op: string, input = signed): GradientCase[] => [
  { op, inputs: [input(2, 3, 4), list(1, 2)] },
  { op, form: "axes as attribute", opset: 11, inputs: [input(2, 3)], attributes: { axes: [0], keepdims: 0 } },
  { op, form: "everything", inputs: [input(2, 3)] },
];

const reduction: GradientCase[] = [
  ...["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare"].flatMap((op) =>
    reduced(op),
  ),
  ...reduced("ReduceProd"),
  ...reduced("ReduceLogSum", positive),
  ...reduced("ReduceLogSumExp", smooth),
];

/** Moving, picking, multiplying and reducing. */
export const layoutCases: readonly GradientCase[] = [...layout, ...picking, ...product, ...reduction];
