import { DataType, type NodeProto } from "../model/proto.ts";
import { convolutionSteps } from "../semantics/convolution.ts";
import { equationOf } from "../semantics/equation.ts";
import { shown } from "../semantics/node-call.ts";
import { fusedAttention, orderComparisons } from "../semantics/operator-families.ts";
import { broadcastDims, matrixProduct } from "../semantics/shapes.ts";
import type { Opsets } from "./graph.ts";
import { attentionShapes } from "./attention-shapes.ts";
import { intAttribute, intsAttribute, stringAttribute } from "./node.ts";
import * as layout from "./layout-shapes.ts";
import { runtimeShapes } from "./runtime-shapes.ts";
import { ShapeCall, type ShapeFunction } from "./shape-call.ts";
import type { ShapeInfo } from "./shape-info.ts";
import { giveUp, ifKnown } from "./unknown.ts";

/** The shape and type of the first input. */
const first: ShapeFunction = (call) => {
  const { dims, dataType } = call.input(0);
  return [{ dims, dataType }];
};

function elementwise(call: ShapeCall, dataType: number = call.input(0).dataType): ShapeInfo[] {
  const shapes = call.inputs.flatMap((_, i) => (call.node.input[i] === "" ? [] : [call.input(i).dims]));
  return [{ dims: broadcastDims(call, ...shapes), dataType }];
}

const compare: ShapeFunction = (call) => elementwise(call, DataType.BOOL);

/** A factor as MatMul would have it; with a transposed batch, its rows (columns, transposed) come before the batch. */
function factorDims(call: ShapeCall, side: "A" | "B", given: readonly number[]): readonly number[] {
  if (given.length < 2) return given;
  const moves = call.int(`transBatch${side}`, 0) === 1;
  const dims = moves ? [...given.slice(1, -1), given[0]!, given.at(-1)!] : given;
  if (call.int(`trans${side}`, 0) !== 1) return dims;
  return [...dims.slice(0, -2), dims.at(-1)!, dims.at(-2)!];
}

const matMul: ShapeFunction = (call) => {
  const [a, b] = [call.input(0), call.input(1)];
  const { dims } = matrixProduct(call, factorDims(call, "A", a.dims), factorDims(call, "B", b.dims));
  return [{ dims, dataType: a.dataType }];
};

/** A product of integers, the second factor being input `right`. */
const integerProduct = (right: number, dataType: (call: ShapeCall) => number): ShapeFunction => {
  return (call) => {
    const { dims } = matrixProduct(call, call.input(0).dims, call.input(right).dims);
    return [{ dims, dataType: dataType(call) }];
  };
};

const reduce: ShapeFunction = (call) => {
  const { dims: given, dataType } = call.input(0);
  const axes = call.integersOr(1, "axes") ?? [];
  if (axes.length === 0 && call.int("noop_with_empty_axes", 0) === 1) return first(call);
  const reduced = new Set(axes.length > 0 ? axes.map((axis) => call.axis(axis, given.length)) : given.keys());
  const keep = call.int("keepdims", 1) === 1;
  const dims = given.flatMap((dim, i) => (reduced.has(i) ? (keep ? [1] : []) : [dim]));
  return [{ dims, dataType }];
};

const argReduce: ShapeFunction = (call) => {
  const given = call.input(0).dims;
  const axis = call.axis(call.int("axis", 0), given.length);
  const keep = call.int("keepdims", 1) === 1;
  const dims = given.flatMap((dim, i) => (i === axis ? (keep ? [1] : []) : [dim]));
  return [{ dims, dataType: DataType.INT64 }];
};

const gemm: ShapeFunction = (call) => {
  const [a, b] = [call.input(0), call.input(1)];
  const rows = a.dims[call.int("transA", 0) === 1 ? 1 : 0]!;
  const columns = b.dims[call.int("transB", 0) === 1 ? 0 : 1]!;
  return [{ dims: [rows, columns], dataType: a.dataType }];
};

const einsum: ShapeFunction = (call) => {
  const operands = call.inputs.map((_, i) => call.input(i));
  const { output, sizes } = equationOf(
    call,
    operands.map(({ dims }) => dims),
  );
  return [{ dims: output.map((label) => sizes.get(label)!), dataType: call.input(0).dataType }];
};

/** Conv and pooling over any number of spatial axes. */
function windowed(call: ShapeCall, kernel: readonly number[], channels: number): ShapeInfo[] {
  const { dims, dataType } = call.input(0);
  const spatial = convolutionSteps(call, dims.slice(2), kernel).map(({ output }) => output);
  if (spatial.some((dim) => dim < 1)) call.misfit(`its input ${shown(dims)} is smaller than its kernel`);
  return [{ dims: [dims[0]!, channels, ...spatial], dataType }];
}

const conv = (call: ShapeCall): ShapeInfo[] => {
  const [filters, , ...kernel] = call.input(1).dims;
  return windowed(call, kernel, filters!);
};

const pool: ShapeFunction = (call) => windowed(call, call.ints("kernel_shape") ?? giveUp(), call.input(0).dims[1]!);

/** [N, ..., C] as [N, C, ...]. */
function channelsFirst(info: ShapeInfo): ShapeInfo {
  const [outer, ...inner] = info.dims;
  return { ...info, dims: [outer!, inner.at(-1)!, ...inner.slice(0, -1)] };
}

/** Channels last, in the data and in the weight. */
const channelsLastConv: ShapeFunction = (call) => {
  const made = conv(call.on([channelsFirst(call.input(0)), channelsFirst(call.input(1))]));
  return made.map((info) => {
    const [batch, channels, ...spatial] = info.dims;
    return { ...info, dims: [batch!, ...spatial, channels!] };
  });
};

const quantisedConv: ShapeFunction = (call) => {
  const made = conv(call.on([call.input(0), call.input(3)]));
  return made.map((info) => ({ ...info, dataType: call.inputs[7]?.dataType ?? info.dataType }));
};

const quantisedBroadcast: ShapeFunction = (call) => {
  const [a, b] = [call.input(0), call.input(3)];
  return [{ dims: broadcastDims(call, a.dims, b.dims), dataType: a.dataType }];
};

const convTranspose: ShapeFunction = ({ node, inputs: [data, weight] }) => {
  if (!data || !weight) return undefined;
  const kernel = weight.dims.slice(2);
  const list = (name: string, otherwise: number): number[] => intsAttribute(node, name) ?? kernel.map(() => otherwise);
  const [strides, dilations, added] = [list("strides", 1), list("dilations", 1), list("output_padding", 0)];
  const pads = intsAttribute(node, "pads") ?? kernel.flatMap(() => [0, 0]);
  if ((stringAttribute(node, "auto_pad") ?? "NOTSET") !== "NOTSET") return undefined;
  const spatial =
    intsAttribute(node, "output_shape") ??
    kernel.map((size, i) => {
      const reach = strides[i]! * (data.dims[i + 2]! - 1) + added[i]! + (size - 1) * dilations[i]! + 1;
      return reach - pads[i]! - pads[i + kernel.length]!;
    });
  const channels = weight.dims[1]! * intAttribute(node, "group", 1);
  return [{ dims: [data.dims[0]!, channels, ...spatial], dataType: data.dataType }];
};

const random: ShapeFunction = ({ node, inputs }) => {
  const dims = node.opType.endsWith("Like") ? inputs[0]?.dims : intsAttribute(node, "shape");
  return dims && [{ dims, dataType: intAttribute(node, "dtype", inputs[0]?.dataType ?? DataType.FLOAT) }];
};

/** [length, directions, batch, hidden], then the last states. */
const recurrent: ShapeFunction = ({ node, inputs: [data] }) => {
  const hidden = intAttribute(node, "hidden_size");
  if (!data || hidden === undefined || intAttribute(node, "layout", 0) !== 0) return undefined;
  const directions = stringAttribute(node, "direction") === "bidirectional" ? 2 : 1;
  const [length, batch] = data.dims as [number, number];
  const { dataType } = data;
  const last = { dims: [directions, batch, hidden], dataType };
  return [{ dims: [length, directions, batch, hidden], dataType }, last, last];
};

const globalPool: ShapeFunction = (call) => {
  const { dims, dataType } = call.input(0);
  return [{ dims: dims.map((dim, i) => (i < 2 ? dim : 1)), dataType }];
};

const cast: ShapeFunction = (call) => {
  const { dims, dataType } = call.input(0);
  return [{ dims, dataType: call.int("to", dataType) }];
};

const castLike: ShapeFunction = (call) => [{ dims: call.input(0).dims, dataType: call.input(1).dataType }];

const where: ShapeFunction = (call) => elementwise(call, call.input(1).dataType);

const dequantize: ShapeFunction = (call) => [
  { dims: call.input(0).dims, dataType: call.inputs[1]?.dataType ?? DataType.FLOAT },
];

const quantize: ShapeFunction = (call) => {
  const dataType = call.inputs[2]?.dataType ?? (call.int("output_dtype", 0) || DataType.UINT8);
  return [{ dims: call.input(0).dims, dataType }];
};

const dynamicQuantize: ShapeFunction = (call) => [
  { dims: call.input(0).dims, dataType: DataType.UINT8 },
  { dims: [], dataType: DataType.FLOAT },
  { dims: [], dataType: DataType.UINT8 },
];

const nBits: ShapeFunction = ({ node, inputs: [data] }) => {
  const columns = intAttribute(node, "N");
  return data && columns !== undefined
    ? [{ dims: [...data.dims.slice(0, -1), columns], dataType: data.dataType }]
    : undefined;
};

/** The normalised sum, its mean, its deviation, and the sum itself. */
const skipLayerNorm: ShapeFunction = ({ inputs: [data] }) => {
  if (!data) return undefined;
  const { dims, dataType } = data;
  const statistics = { dims: dims.map((dim, axis) => (axis === dims.length - 1 ? 1 : dim)), dataType: DataType.FLOAT };
  return [{ dims, dataType }, statistics, statistics, { dims, dataType }];
};

/** From blocks of channels to [batch, channels, height, width], or channels last. */
const reorderOutput: ShapeFunction = ({ node, inputs: [data] }) => {
  if (!data) return undefined;
  const [batch = 0, padded = 0, ...spatial] = data.dims;
  const channels = intAttribute(node, "channels", padded);
  const isLast = intAttribute(node, "channels_last", 0) === 1;
  const dims = isLast ? [batch, ...spatial, channels] : [batch, channels, ...spatial];
  return [{ dims, dataType: data.dataType }];
};

const embedLayerNorm: ShapeFunction = ({ inputs }) => {
  const [ids, , words] = inputs;
  if (!ids || !words) return undefined;
  return [
    { dims: [...ids.dims, words.dims[1]!], dataType: words.dataType },
    { dims: [ids.dims[0]!], dataType: DataType.INT32 },
    { dims: [...ids.dims, words.dims[1]!], dataType: words.dataType },
  ];
};

/** Operators that keep the value of their first input in its shape and type. */
const sameShape = [
  ..."Abs Neg Sqrt Exp Log Erf Tanh Sigmoid Relu Gelu Elu LeakyRelu Selu Celu HardSigmoid HardSwish Mish Softplus Softsign Bernoulli".split(
    " ",
  ),
  ..."Floor Ceil Round Sign Reciprocal Sin Cos Tan Asin Acos Atan Sinh Cosh Identity Dropout Clip Softmax LogSoftmax".split(
    " ",
  ),
  ..."Hardmax CumSum Trilu LayerNormalization InstanceNormalization BatchNormalization GroupNormalization".split(" "),
  ..."RMSNormalization LpNormalization RotaryEmbedding ScatterND ScatterElements ScatterND EyeLike ReverseSequence Not".split(
    " ",
  ),
  ..."BitwiseNot ThresholdedRelu Shrink SimplifiedLayerNormalization MeanVarianceNormalization Swish".split(" "),
  ..."FastGelu BiasGelu QuickGelu FusedGelu BiasSoftmax BiasDropout GroupNorm SkipGroupNorm BiasAdd LRN Scatter".split(
    " ",
  ),
  ..."Asinh Acosh Atanh QLinearSoftmax QLinearSigmoid QLinearLeakyRelu".split(" "),
];
const broadcastOperators =
  "Add Sub Mul Div Pow Mod PRelu And Or Xor Min Max Sum Mean BitShift BitwiseAnd BitwiseOr BitwiseXor".split(" ");
const comparisons = ["Equal", ...orderComparisons];
const reductions =
  "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare".split(
    " ",
  );

/**
 * The shapes of a node's outputs.
 *
 * @param inputs what is known of its inputs
 * @returns undefined if the inputs or the operator are unknown
 * @throws ShapeConflict if the sizes of the inputs contradict each other
 */
export function inferShapes(
  node: NodeProto,
  inputs: readonly (ShapeInfo | undefined)[],
  opsets: Opsets,
): readonly (ShapeInfo | undefined)[] | undefined {
  const infer = shapeFunctions.get(node.opType);
  const known = inputs.map((info) => info ?? null);
  return infer && ifKnown(() => infer(new ShapeCall(node, known, opsets)));
}

/** Shape functions by operator; the few domains whose operators matter here share no names with different meanings. */
const shapeFunctions: ReadonlyMap<string, ShapeFunction> = new Map<string, ShapeFunction>([
  ...sameShape.map((name) => [name, first] as const),
  ...broadcastOperators.map((name) => [name, (call: ShapeCall) => elementwise(call)] as const),
  ...comparisons.map((name) => [name, compare] as const),
  ...reductions.map((name) => [name, reduce] as const),
  ["IsNaN", compare],
  ["IsInf", compare],
  ["ArgMax", argReduce],
  ["ArgMin", argReduce],
  ["MatMul", matMul],
  ["FusedMatMul", matMul],
  ["TransposeMatMul", matMul],
  ["MatMulInteger", integerProduct(1, () => DataType.INT32)],
  ["ConvInteger", (call) => conv(call).map((info) => ({ ...info, dataType: DataType.INT32 }))],
  ["QLinearMatMul", integerProduct(3, (call) => call.input(0).dataType)],
  ["MatMulIntegerToFloat", integerProduct(1, (call) => call.input(2).dataType)],
  ["DynamicQuantizeMatMul", matMul],
  ["MatMulNBits", nBits],
  ["MatMulBnb4", nBits],
  ["Gemm", gemm],
  ["FusedGemm", gemm],
  ["QGemm", (call) => gemm(call.on([call.input(0), call.input(3)]))],
  ["Einsum", einsum],
  ["Conv", conv],
  ["FusedConv", conv],
  ["NhwcConv", channelsLastConv],
  ["NhwcFusedConv", channelsLastConv],
  ["ReorderOutput", reorderOutput],
  ["MaxPool", pool],
  ["AveragePool", pool],
  ["GlobalAveragePool", globalPool],
  ["GlobalMaxPool", globalPool],
  ["Gather", layout.gather],
  ["GatherND", layout.gatherND],
  ["GatherElements", layout.indexed],
  ["Reshape", layout.reshape],
  ["Transpose", layout.transpose],
  ["Squeeze", layout.squeeze],
  ["Unsqueeze", layout.unsqueeze],
  ["Expand", layout.expand],
  ["Slice", layout.slice],
  ["Split", layout.split],
  ["Concat", layout.concat],
  ["Flatten", layout.flatten],
  ["Cast", cast],
  ["CastLike", castLike],
  ["Where", where],
  ["ConstantOfShape", layout.constantOfShape],
  ["Range", layout.range],
  ["Tile", layout.tile],
  ["Pad", layout.pad],
  ["OneHot", layout.oneHot],
  ["TopK", layout.topK],
  ["Resize", layout.resize],
  ["Upsample", layout.resize],
  ["GridSample", layout.gridSample],
  ["RoiAlign", layout.roiAlign],
  ["RandomUniformLike", random],
  ["RandomNormalLike", random],
  ["RandomUniform", random],
  ["RandomNormal", random],
  ["LSTM", recurrent],
  ["GRU", recurrent],
  ["RNN", recurrent],
  ["ConvTranspose", convTranspose],
  ["QLinearConv", quantisedConv],
  ["QLinearAdd", quantisedBroadcast],
  ["QLinearMul", quantisedBroadcast],
  ["SpaceToDepth", layout.depthToSpace],
  ["DepthToSpace", layout.depthToSpace],
  ["DequantizeLinear", dequantize],
  ["QuantizeLinear", quantize],
  ["DynamicQuantizeLinear", dynamicQuantize],
  ["EmbedLayerNormalization", embedLayerNorm],
  ["SkipLayerNormalization", skipLayerNorm],
  ["SkipSimplifiedLayerNormalization", skipLayerNorm],
  ...runtimeShapes,
  ...[...fusedAttention].map((name) => [name, attentionShapes] as const),
]);
