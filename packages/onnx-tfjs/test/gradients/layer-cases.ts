import { createMessage, DataType, type GraphProto } from "@favor/onnx";
import { tensorOf } from "@favor/onnx/evaluate";
import { node } from "@favor/test-support/nodes";
import { between, bool, float32, int64, list, positive, signed, smooth, type GradientCase } from "./case.ts";
import { floatInput } from "./check.ts";

const epsilon = { epsilon: { float: 1e-5 } };

const normalisation: GradientCase[] = [
  { op: "LayerNormalization", inputs: [signed(2, 3, 5), signed(5), signed(5)] },
  {
    op: "LayerNormalization",
    form: "two axes, no bias",
    inputs: [signed(2, 3, 2), signed(3, 2)],
    attributes: { axis: 1 },
  },
  { op: "RMSNormalization", inputs: [signed(2, 3, 5), signed(5)] },
  { op: "SimplifiedLayerNormalization", inputs: [signed(2, 5), signed(5)] },
  {
    op: "com.microsoft:SkipLayerNormalization",
    inputs: [signed(2, 5), signed(2, 5), signed(5), signed(5), signed(5)],
    attributes: epsilon,
    outputs: 4,
    floats: [0, 3],
  },
  {
    op: "com.microsoft:SkipSimplifiedLayerNormalization",
    inputs: [signed(2, 5), signed(2, 5), signed(5), signed(5)],
    attributes: epsilon,
    outputs: 4,
    floats: [0, 3],
  },
  {
    op: "com.microsoft:EmbedLayerNormalization",
    inputs: [
      int64([2, 2], [1, 0, 3, 1]),
      int64([2, 2], [0, 1, 1, 1]),
      signed(4, 5),
      signed(3, 5),
      signed(2, 5),
      signed(5),
      signed(5),
      int64([2, 2], [1, 1, 1, 0]),
    ],
    attributes: epsilon,
    outputs: 2,
    floats: [0],
  },
  { op: "InstanceNormalization", inputs: [signed(2, 3, 4), signed(3), signed(3)] },
  { op: "GroupNormalization", inputs: [signed(2, 4, 3), signed(4), signed(4)], attributes: { num_groups: 2 } },
  {
    op: "GroupNormalization",
    form: "scale per group",
    opset: 18,
    inputs: [signed(2, 4, 3), signed(2), signed(2)],
    attributes: { num_groups: 2 },
  },
  { op: "BatchNormalization", inputs: [signed(2, 3, 2), signed(3), signed(3), signed(3), positive(3)] },
  { op: "LpNormalization", inputs: [signed(2, 4)] },
  { op: "LpNormalization", form: "1-norm, first axis", inputs: [signed(3, 2)], attributes: { p: 1, axis: 0 } },
  { op: "Softmax", inputs: [signed(2, 4)] },
  { op: "Softmax", form: "first axis", inputs: [signed(3, 2, 2)], attributes: { axis: 0 } },
  { op: "Softmax", form: "flattened", opset: 11, inputs: [signed(2, 2, 3)] },
  { op: "LogSoftmax", inputs: [signed(2, 4)] },
  { op: "LogSoftmax", form: "middle axis", inputs: [signed(2, 3, 2)], attributes: { axis: 1 } },
];

const convolution: GradientCase[] = [
  {
    op: "Conv",
    form: "1-D, strided, padded",
    inputs: [signed(2, 2, 7), signed(3, 2, 3), signed(3)],
    attributes: { strides: [2], pads: [1, 2] },
  },
  { op: "Conv", form: "patches", inputs: [signed(1, 2, 4, 6), signed(3, 2, 2, 2)], attributes: { strides: [2, 2] } },
  {
    op: "Conv",
    form: "groups, dilated",
    inputs: [signed(2, 4, 5, 4), signed(2, 2, 2, 2)],
    attributes: { group: 2, dilations: [2, 1], pads: [1, 0, 0, 1] },
  },
  {
    op: "Conv",
    form: "3-D, SAME_UPPER",
    inputs: [signed(1, 1, 2, 3, 2), signed(2, 1, 2, 2, 2)],
    attributes: { auto_pad: "SAME_UPPER" },
  },
  { op: "GlobalAveragePool", inputs: [signed(2, 3, 2, 2)] },
  { op: "GlobalMaxPool", inputs: [signed(2, 3, 4)] },
];

const codes = (dims: readonly number[], type: number, ...values: number[]) => tensorOf(type, dims, values);

const quantised: GradientCase[] = ["DequantizeLinear", "com.microsoft:DequantizeLinear"].map((op) => ({
  op,
  inputs: [codes([2, 3], DataType.UINT8, 1, 200, 7, 90, 255, 0), positive(3), codes([3], DataType.UINT8, 0, 128, 3)],
}));

const nbits: GradientCase[] = [
  {
    op: "com.microsoft:MatMulNBits",
    inputs: [
      smooth(2, 20),
      codes([2, 2, 8], DataType.UINT8, ...Array.from({ length: 32 }, (_, i) => (i * 37) % 256)),
      positive(4),
      null,
      null,
      signed(2),
    ],
    attributes: { K: 20, N: 2, bits: 4, block_size: 16 },
  },
];

const causal = float32([1, 1, 3, 3], [0, -Infinity, -Infinity, 0, 0, -Infinity, 0, 0, 0]);
const hidesAll = bool([3, 3], [1, 0, 1, 0, 0, 0, 1, 1, 0]);
const heads = [signed(2, 2, 3, 4), signed(2, 2, 3, 4), signed(2, 2, 3, 4)];
const packed = [signed(2, 3, 4), signed(2, 3, 4), signed(2, 3, 4)];
const rotaryTables = [between(0.2, 1, 6, 2), between(0.2, 1, 6, 2)];

const attention: GradientCase[] = [
  { op: "Attention", inputs: heads },
  { op: "Attention", form: "additive mask", inputs: [...heads, causal] },
  { op: "Attention", form: "a query without keys", inputs: [...heads, hidesAll] },
  { op: "Attention", form: "a learned bias", inputs: [...heads, smooth(1, 2, 3, 3)] },
  {
    op: "Attention",
    form: "grouped, causal, past, capped",
    inputs: [signed(1, 2, 8), signed(1, 2, 4), signed(1, 2, 4), null, signed(1, 1, 3, 4), signed(1, 1, 3, 4)],
    attributes: { q_num_heads: 2, kv_num_heads: 1, is_causal: 1, softcap: { float: 2 } },
    outputs: 3,
  },
  { op: "RotaryEmbedding", inputs: [signed(2, 2, 3, 4), ...rotaryTables, int64([2, 3], [0, 1, 2, 5, 4, 3])] },
  {
    op: "RotaryEmbedding",
    form: "neighbours, part of a head",
    inputs: [signed(2, 3, 12), ...rotaryTables, int64([2, 3], [0, 1, 2, 5, 4, 3])],
    attributes: { interleaved: 1, num_heads: 2 },
  },
  { op: "com.microsoft:RotaryEmbedding", inputs: [signed(2, 3, 8), list(1), ...rotaryTables] },
  {
    op: "com.microsoft:Attention",
    inputs: [signed(2, 3, 4), smooth(4, 12), smooth(12), int64([2, 3], [1, 1, 1, 1, 1, 0])],
    attributes: { num_heads: 2, unidirectional: 1 },
  },
  {
    op: "com.microsoft:MultiHeadAttention",
    inputs: [...packed, smooth(12), int64([2], [3, 2]), smooth(1, 2, 3, 3)],
    attributes: { num_heads: 2 },
  },
  {
    op: "com.microsoft:GroupQueryAttention",
    inputs: [signed(1, 3, 8), signed(1, 3, 4), signed(1, 3, 4), null, null, int64([1], [2]), int64([], [3])],
    attributes: { num_heads: 2, kv_num_heads: 1 },
    reference: [node("Attention", ["in0", "in1", "in2"], ["out0"], { q_num_heads: 2, kv_num_heads: 1, is_causal: 1 })],
  },
];

/** Attention of the parts of in0 [batch, length, heads, parts, dim], or of in1's with the queries in0 merged. */
function unpackedReference(source: string, parts: string[], query: string): NonNullable<GradientCase["reference"]> {
  const unpacked = parts.flatMap((part) => [
    node("Squeeze", [part, "third"], [`${part}s`]),
    node("Transpose", [`${part}s`], [`${part}h`], { perm: [0, 2, 1, 3] }),
  ]);
  return [
    node("Constant", [], ["third"], { value: list(3) }),
    node("Constant", [], ["apart"], { value: list(0, 0, 2, -1) }),
    node("Constant", [], ["together"], { value: list(0, 0, -1) }),
    node("Split", [source], parts, { axis: 3 }),
    ...unpacked,
    ...(query === "in0"
      ? [node("Reshape", ["in0", "apart"], ["rows"]), node("Transpose", ["rows"], ["qh"], { perm: [0, 2, 1, 3] })]
      : []),
    node("Attention", ["qh", "kh", "vh"], ["attended"]),
    node("Transpose", ["attended"], ["back"], { perm: [0, 2, 1, 3] }),
    node("Reshape", ["back", "together"], ["out0"]),
  ];
}

/** Forms that onnxruntime has on CUDA alone. */
const packedHeads: GradientCase[] = [
  {
    op: "com.microsoft:MultiHeadAttention",
    form: "packed",
    inputs: [signed(2, 3, 2, 3, 4)],
    attributes: { num_heads: 2 },
    reference: unpackedReference("in0", ["q", "k", "v"], "q"),
  },
  {
    op: "com.microsoft:MultiHeadAttention",
    form: "packed keys and values",
    inputs: [signed(2, 3, 8), signed(2, 5, 2, 2, 4)],
    attributes: { num_heads: 2 },
    reference: unpackedReference("in1", ["k", "v"], "in0"),
  },
];

const linearReference = [
  node("Transpose", ["in1"], ["columns"], { perm: [0, 2, 1] }),
  node("MatMul", ["in0", "columns"], ["products"]),
  node("Trilu", ["products"], ["seen"], { upper: 0 }),
  node("MatMul", ["seen", "in2"], ["own"]),
  node("Squeeze", ["in3", "axes"], ["past"]),
  node("MatMul", ["in0", "past"], ["earlier"]),
  node("Add", ["own", "earlier"], ["out0"]),
  node("MatMul", ["columns", "in2"], ["total"]),
  node("Unsqueeze", ["total", "axes"], ["state"]),
  node("Add", ["state", "in3"], ["out1"]),
];

const linear: GradientCase[] = ["LinearAttention", "com.microsoft:LinearAttention"].map((op) => ({
  op,
  // Two chunks; one head, so that a few standard operators say the same.
  inputs: [smooth(2, 70, 3), smooth(2, 70, 3), smooth(2, 70, 2), smooth(2, 1, 3, 2)],
  opset: 27,
  attributes: { q_num_heads: 1, kv_num_heads: 1, update_rule: "linear", scale: { float: 1 } },
  outputs: 2,
  reference: [node("Constant", [], ["axes"], { value: list(1) }), ...linearReference],
}));

function body(nodes: GraphProto["node"], inputs: string[], outputs: string[]): GraphProto {
  return createMessage("GraphProto", {
    name: "body",
    node: nodes,
    input: inputs.map(floatInput),
    output: outputs.map(floatInput),
  });
}

const controlFlow: GradientCase[] = [
  {
    op: "If",
    inputs: [bool([], [1]), signed(2, 3), signed(3)],
    own: 1,
    attributes: {
      then_branch: body([node("Mul", ["in1", "in2"], ["then"])], [], ["then"]),
      else_branch: body([node("Add", ["in1", "in2"], ["else"])], [], ["else"]),
    },
  },
  {
    op: "Loop",
    inputs: [int64([], [3]), null, signed(2, 2), smooth(2, 2)],
    own: 3,
    outputs: 2,
    attributes: {
      body: body(
        [node("MatMul", ["state", "in3"], ["next"]), node("Tanh", ["next"], ["row"]), node("Identity", ["go"], ["on"])],
        ["i", "go", "state"],
        ["on", "next", "row"],
      ),
    },
  },
  {
    op: "Scan",
    inputs: [signed(2), signed(2, 3)],
    outputs: 2,
    attributes: {
      num_scan_inputs: 1,
      scan_input_axes: [1],
      scan_output_axes: [1],
      scan_output_directions: [1],
      body: body(
        [node("Mul", ["state", "slice"], ["next"]), node("Sin", ["next"], ["row"])],
        ["state", "slice"],
        ["next", "row"],
      ),
    },
  },
];

/** Normalisation, convolution, quantised weights, attention and control flow. */
export const layerCases: readonly GradientCase[] = [
  ...normalisation,
  ...convolution,
  ...quantised,
  ...nbits,
  ...attention,
  ...packedHeads,
  ...linear,
  ...controlFlow,
];
