import { DataType, type NodeProto } from "../model/proto.ts";
import { fusedAttention, orderComparisons } from "../semantics/operator-families.ts";
import { attentionShapes } from "./attention-shapes.ts";
import { parseEinsum } from "./einsum.ts";
import { intAttribute, intsAttribute, stringAttribute } from "./node.ts";
import * as layout from "./layout-shapes.ts";
import { runtimeShapes } from "./runtime-shapes.ts";
import {
  axisOf,
  broadcast,
  integers,
  ShapeConflict,
  type ShapeCall,
  type ShapeFunction,
  type ShapeInfo,
} from "./shape-info.ts";

const first = ({ inputs }: ShapeCall): ShapeInfo[] | undefined => {
  const info = inputs[0];
  return info && [{ dims: info.dims, dataType: info.dataType }];
};

function elementwise(call: ShapeCall, dataType?: number): ShapeInfo[] | undefined {
  const shapes: (readonly number[])[] = [];
  for (let i = 0; i < call.inputs.length; i++) {
    if (call.node.input[i] === "") continue;
    const info = call.inputs[i];
    if (info === undefined) return undefined;
    shapes.push(info.dims);
  }
  const type = dataType ?? call.inputs[0]?.dataType;
  return type === undefined ? undefined : [{ dims: broadcast(call.node, shapes), dataType: type }];
}

const compare: ShapeFunction = (call) => elementwise(call, DataType.BOOL);

function productDims(node: NodeProto, a: readonly number[], b: readonly number[]): number[] {
  const left = a.length === 1 ? [1, a[0]!] : a;
  const right = b.length === 1 ? [b[0]!, 1] : b;
  if (left.at(-1) !== right.at(-2)) {
    throw new ShapeConflict(node, `cannot multiply [${a.join(", ")}] by [${b.join(", ")}]`);
  }
  const batch = broadcast(node, [left.slice(0, -2), right.slice(0, -2)]);
  const rows = a.length === 1 ? [] : [left.at(-2)!];
  const columns = b.length === 1 ? [] : [right.at(-1)!];
  return [...batch, ...rows, ...columns];
}

/** A factor as MatMul would have it; with a transposed batch, its rows (columns, transposed) come before the batch. */
function factorDims(node: NodeProto, side: "A" | "B", given: readonly number[]): readonly number[] {
  if (given.length < 2) return given;
  const moves = intAttribute(node, `transBatch${side}`, 0) === 1;
  const dims = moves ? [...given.slice(1, -1), given[0]!, given.at(-1)!] : given;
  if (intAttribute(node, `trans${side}`, 0) !== 1) return dims;
  return [...dims.slice(0, -2), dims.at(-1)!, dims.at(-2)!];
}

const matMul: ShapeFunction = ({ node, inputs: [a, b] }) => {
  if (!a || !b) return undefined;
  const left = factorDims(node, "A", a.dims);
  const right = factorDims(node, "B", b.dims);
  return [{ dims: productDims(node, left, right), dataType: a.dataType }];
};

const integerProduct: ShapeFunction = ({ node, inputs: [a, b] }) =>
  a && b ? [{ dims: productDims(node, a.dims, b.dims), dataType: DataType.INT32 }] : undefined;

function reduce(call: ShapeCall): ShapeInfo[] | undefined {
  const info = call.inputs[0];
  const axes = integers(call, 1, "axes");
  if (info === undefined || axes === "unknown") return undefined;
  if ((axes === undefined || axes.length === 0) && intAttribute(call.node, "noop_with_empty_axes", 0) === 1) {
    return first(call);
  }
  const rank = info.dims.length;
  const reduced = new Set(axes?.length ? axes.map((axis) => axisOf(axis, rank)) : info.dims.map((_, i) => i));
  const keep = intAttribute(call.node, "keepdims", 1) === 1;
  const dims = info.dims.flatMap((dim, i) => (reduced.has(i) ? (keep ? [1] : []) : [dim]));
  return [{ dims, dataType: info.dataType }];
}

function argReduce({ node, inputs: [info] }: ShapeCall): ShapeInfo[] | undefined {
  if (!info) return undefined;
  const axis = axisOf(intAttribute(node, "axis", 0), info.dims.length);
  const keep = intAttribute(node, "keepdims", 1) === 1;
  const dims = info.dims.flatMap((dim, i) => (i === axis ? (keep ? [1] : []) : [dim]));
  return [{ dims, dataType: DataType.INT64 }];
}

const gemm: ShapeFunction = ({ node, inputs: [a, b] }) => {
  if (!a || !b) return undefined;
  const rows = a.dims[intAttribute(node, "transA", 0) === 1 ? 1 : 0]!;
  const columns = b.dims[intAttribute(node, "transB", 0) === 1 ? 0 : 1]!;
  return [{ dims: [rows, columns], dataType: a.dataType }];
};

const einsum: ShapeFunction = ({ node, inputs }) => {
  if (inputs.some((info) => info === undefined)) return undefined;
  const ranks = inputs.map((info) => info?.dims.length);
  const equation = parseEinsum(stringAttribute(node, "equation") ?? "", ranks);
  if (equation === undefined) return undefined;
  const sizes = new Map<string, number>();
  equation.inputs.forEach((labels, operand) => {
    [...labels].forEach((label, i) => {
      const dim = inputs[operand]?.dims[i] ?? 1;
      sizes.set(label, Math.max(dim, sizes.get(label) ?? 1));
    });
  });
  return [{ dims: [...equation.output].map((label) => sizes.get(label) ?? 1), dataType: inputs[0]!.dataType }];
};

/** Conv and pooling over any number of spatial axes. */
function windowed(
  spatialKernel: (call: ShapeCall) => readonly number[] | undefined,
  channels: (call: ShapeCall) => number,
) {
  return (call: ShapeCall): ShapeInfo[] | undefined => {
    const data = call.inputs[0];
    const kernel = spatialKernel(call);
    if (!data || kernel === undefined) return undefined;
    const { node } = call;
    const strides = intsAttribute(node, "strides") ?? kernel.map(() => 1);
    const dilations = intsAttribute(node, "dilations") ?? kernel.map(() => 1);
    const pads = intsAttribute(node, "pads") ?? kernel.flatMap(() => [0, 0]);
    const auto = stringAttribute(node, "auto_pad") ?? "NOTSET";
    const spatial = kernel.map((size, i) => {
      const length = data.dims[i + 2]!;
      const stride = strides[i]!;
      if (auto.startsWith("SAME")) return Math.ceil(length / stride);
      const padded = auto === "VALID" ? length : length + pads[i]! + pads[i + kernel.length]!;
      const room = (padded - dilations[i]! * (size - 1) - 1) / stride;
      return (intAttribute(node, "ceil_mode", 0) === 1 ? Math.ceil(room) : Math.floor(room)) + 1;
    });
    if (spatial.some((dim) => dim < 1)) throw new ShapeConflict(node, "the probing input is shorter than the kernel");
    return [{ dims: [data.dims[0]!, channels(call), ...spatial], dataType: data.dataType }];
  };
}

const conv = windowed(
  ({ inputs }) => inputs[1]?.dims.slice(2),
  ({ inputs }) => inputs[1]!.dims[0]!,
);
const pool = windowed(
  ({ node }) => intsAttribute(node, "kernel_shape"),
  ({ inputs }) => inputs[0]!.dims[1]!,
);

/** Channels last, in the data and in the weight. */
const channelsLastConv: ShapeFunction = (call) => {
  const [data, weight] = call.inputs.map((info) => {
    if (!info) return undefined;
    const [outer, ...inner] = info.dims;
    return { ...info, dims: [outer!, inner.at(-1)!, ...inner.slice(0, -1)] };
  });
  return conv({ ...call, inputs: [data, weight] })?.map((info) => {
    const [batch, channels, ...spatial] = info!.dims;
    return { ...info!, dims: [batch!, ...spatial, channels!] };
  });
};

const quantisedConv: ShapeFunction = (call) => {
  const made = conv({ ...call, inputs: [call.inputs[0], call.inputs[3]] });
  return made?.map((info) => ({ ...info, dataType: call.inputs[7]?.dataType ?? info.dataType }));
};

const quantisedBroadcast: ShapeFunction = ({ node, inputs: [a, , , b] }) =>
  a && b && [{ dims: broadcast(node, [a.dims, b.dims]), dataType: a.dataType }];

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

const globalPool: ShapeFunction = ({ inputs: [data] }) =>
  data && [{ dims: data.dims.map((dim, i) => (i < 2 ? dim : 1)), dataType: data.dataType }];

const cast: ShapeFunction = ({ node, inputs: [data] }) =>
  data && [{ dims: data.dims, dataType: intAttribute(node, "to", data.dataType) }];

const castLike: ShapeFunction = ({ inputs: [data, like] }) =>
  data && like && [{ dims: data.dims, dataType: like.dataType }];

const where: ShapeFunction = (call) => call.inputs[1] && elementwise(call, call.inputs[1].dataType);

const sameAsFirstWithStatistics: ShapeFunction = (call) => {
  const same = first(call);
  return same && [same[0]!];
};

const dequantize: ShapeFunction = ({ inputs: [data, scale] }) =>
  data && [{ dims: data.dims, dataType: scale?.dataType ?? DataType.FLOAT }];

const quantize: ShapeFunction = ({ node, inputs: [data, , zero] }) =>
  data && [{ dims: data.dims, dataType: zero?.dataType ?? (intAttribute(node, "output_dtype", 0) || DataType.UINT8) }];

const dynamicQuantize: ShapeFunction = ({ inputs: [data] }) =>
  data && [
    { dims: data.dims, dataType: DataType.UINT8 },
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

/** Shape functions by operator; the few domains whose operators matter here share no names with different meanings. */
export const shapeFunctions: ReadonlyMap<string, ShapeFunction> = new Map<string, ShapeFunction>([
  ...sameShape.map((name) => [name, sameAsFirstWithStatistics] as const),
  ...broadcastOperators.map((name) => [name, (call: ShapeCall) => elementwise(call)] as const),
  ...comparisons.map((name) => [name, compare] as const),
  ...reductions.map((name) => [name, reduce] as const),
  ["IsNaN", (call) => elementwise(call, DataType.BOOL)],
  ["IsInf", (call) => elementwise(call, DataType.BOOL)],
  ["ArgMax", argReduce],
  ["ArgMin", argReduce],
  ["MatMul", matMul],
  ["FusedMatMul", matMul],
  ["TransposeMatMul", matMul],
  ["MatMulInteger", integerProduct],
  ["ConvInteger", (call) => conv(call)?.map((info) => ({ ...info, dataType: DataType.INT32 }))],
  [
    "QLinearMatMul",
    ({ node, inputs: [a, , , b] }) => a && b && [{ dims: productDims(node, a.dims, b.dims), dataType: a.dataType }],
  ],
  [
    "MatMulIntegerToFloat",
    ({ node, inputs: [a, b, scale] }) =>
      a && b && scale && [{ dims: productDims(node, a.dims, b.dims), dataType: scale.dataType }],
  ],
  ["DynamicQuantizeMatMul", matMul],
  ["MatMulNBits", nBits],
  ["MatMulBnb4", nBits],
  ["Gemm", gemm],
  ["FusedGemm", gemm],
  ["QGemm", (call) => gemm({ ...call, inputs: [call.inputs[0], call.inputs[3]] })],
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
