import { DataType, type NodeProto } from "../model/proto.ts";
import { elementCount, type Tensor } from "../evaluate/tensor.ts";
import { parseEinsum } from "./einsum.ts";
import { intAttribute, intsAttribute, stringAttribute } from "./node.ts";

/** What is known of a value when the model's inputs have concrete shapes. */
export interface ShapeInfo {
  readonly dims: readonly number[];
  readonly dataType: number;
  /** Present where the value follows from shapes and constants alone. */
  readonly value?: Tensor;
}

export interface ShapeCall {
  readonly node: NodeProto;
  readonly inputs: readonly (ShapeInfo | undefined)[];
  readonly opset: number;
}

/** Shapes of a node's outputs, or undefined if they do not follow from what is known. */
export type ShapeFunction = (call: ShapeCall) => (ShapeInfo | undefined)[] | undefined;

/** Thrown where shapes contradict each other: the probing length is not one that this graph can run at. */
export class ShapeConflict extends Error {
  readonly node: NodeProto;
  /** Lengths that the graph insists on: constants of the reshape that failed. */
  readonly wanted: readonly number[];

  constructor(node: NodeProto, message: string, wanted: readonly number[] = []) {
    super(message);
    this.node = node;
    this.wanted = wanted;
  }
}

export function broadcast(node: NodeProto, shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(0, ...shapes.map((dims) => dims.length));
  const out = Array.from<number>({ length: rank }).fill(1);
  for (const dims of shapes) {
    dims.forEach((dim, index) => {
      const at = rank - dims.length + index;
      if (dim === 1) return;
      if (out[at] !== 1 && out[at] !== dim) {
        throw new ShapeConflict(node, `cannot broadcast ${shapes.map((s) => `[${s.join(", ")}]`).join(" and ")}`);
      }
      out[at] = dim;
    });
  }
  return out;
}

const axisOf = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);

/** An integer list that newer operator sets give as an input and older ones as an attribute. */
function integers({ node, inputs }: ShapeCall, index: number, name: string): number[] | undefined | "unknown" {
  const given = node.input[index];
  if (given !== undefined && given !== "") {
    const value = inputs[index]?.value;
    return value === undefined ? "unknown" : Array.from(value.data);
  }
  return intsAttribute(node, name);
}

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
  return [{ dims: broadcast(call.node, shapes), dataType: dataType ?? call.inputs[0]!.dataType }];
}

const compare: ShapeFunction = (call) => elementwise(call, DataType.BOOL);

export function productDims(node: NodeProto, a: readonly number[], b: readonly number[]): number[] {
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

const matMul: ShapeFunction = ({ node, inputs: [a, b] }) => {
  if (!a || !b) return undefined;
  const swapped = (dims: readonly number[], swap: boolean): number[] =>
    swap && dims.length > 1 ? [...dims.slice(0, -2), dims.at(-1)!, dims.at(-2)!] : [...dims];
  const left = swapped(a.dims, intAttribute(node, "transA", 0) === 1);
  const right = swapped(b.dims, intAttribute(node, "transB", 0) === 1);
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

const gather: ShapeFunction = ({ node, inputs: [data, indices] }) => {
  if (!data || !indices) return undefined;
  const axis = axisOf(intAttribute(node, "axis", 0), data.dims.length);
  const dims = [...data.dims.slice(0, axis), ...indices.dims, ...data.dims.slice(axis + 1)];
  return [{ dims, dataType: data.dataType }];
};

const gatherND: ShapeFunction = ({ node, inputs: [data, indices] }) => {
  if (!data || !indices) return undefined;
  const batch = intAttribute(node, "batch_dims", 0);
  const depth = indices.dims.at(-1)!;
  return [{ dims: [...indices.dims.slice(0, -1), ...data.dims.slice(batch + depth)], dataType: data.dataType }];
};

const reshape: ShapeFunction = ({ node, inputs: [data, shape] }) => {
  const target = shape?.value ? Array.from(shape.value.data) : intsAttribute(node, "shape");
  if (!data || target === undefined) return undefined;
  const allowZero = intAttribute(node, "allowzero", 0) === 1;
  const dims = target.map((dim, i) => (dim === 0 && !allowZero ? (data.dims[i] ?? 0) : dim));
  const unknown = dims.indexOf(-1);
  const have = elementCount(data.dims);
  if (unknown >= 0) dims[unknown] = have / elementCount(dims.filter((_, i) => i !== unknown));
  if (elementCount(dims) !== have || !dims.every((dim) => Number.isInteger(dim))) {
    throw new ShapeConflict(
      node,
      `cannot reshape [${data.dims.join(", ")}] to [${target.join(", ")}]`,
      target.filter((dim) => dim > 1),
    );
  }
  return [{ dims, dataType: data.dataType }];
};

const transpose: ShapeFunction = ({ node, inputs: [data] }) => {
  if (!data) return undefined;
  const perm = intsAttribute(node, "perm") ?? data.dims.map((_, i) => data.dims.length - 1 - i);
  return [{ dims: perm.map((from) => data.dims[from]!), dataType: data.dataType }];
};

const squeeze: ShapeFunction = (call) => {
  const data = call.inputs[0];
  const axes = integers(call, 1, "axes");
  if (!data || axes === "unknown") return undefined;
  const dropped = axes && new Set(axes.map((axis) => axisOf(axis, data.dims.length)));
  const dims = data.dims.filter((dim, i) => (dropped ? !dropped.has(i) : dim !== 1));
  return [{ dims, dataType: data.dataType }];
};

const unsqueeze: ShapeFunction = (call) => {
  const data = call.inputs[0];
  const axes = integers(call, 1, "axes");
  if (!data || axes === "unknown" || axes === undefined) return undefined;
  const rank = data.dims.length + axes.length;
  const added = new Set(axes.map((axis) => axisOf(axis, rank)));
  let from = 0;
  const dims = Array.from({ length: rank }, (_, i) => (added.has(i) ? 1 : data.dims[from++]!));
  return [{ dims, dataType: data.dataType }];
};

const expand: ShapeFunction = ({ node, inputs: [data, shape] }) => {
  if (!data || !shape?.value) return undefined;
  return [{ dims: broadcast(node, [data.dims, Array.from(shape.value.data)]), dataType: data.dataType }];
};

const slice: ShapeFunction = (call) => {
  const data = call.inputs[0];
  const [starts, ends, axes, steps] = ["starts", "ends", "axes", "steps"].map((name, i) => integers(call, i + 1, name));
  if (!data || !Array.isArray(starts) || !Array.isArray(ends) || axes === "unknown" || steps === "unknown") {
    return undefined;
  }
  const dims = [...data.dims];
  starts.forEach((start, i) => {
    const axis = axisOf(axes?.[i] ?? i, dims.length);
    const step = steps?.[i] ?? 1;
    const length = data.dims[axis]!;
    const clamp = (at: number, low: number, high: number): number =>
      Math.min(Math.max(at < 0 ? at + length : at, low), high);
    const [from, to] =
      step > 0
        ? [clamp(start, 0, length), clamp(ends[i]!, 0, length)]
        : [clamp(start, 0, length - 1), clamp(ends[i]!, -1, length - 1)];
    dims[axis] = Math.max(0, Math.ceil((to - from) / step));
  });
  return [{ dims, dataType: data.dataType }];
};

const split: ShapeFunction = (call) => {
  const { node } = call;
  const data = call.inputs[0];
  const sizes = integers(call, 1, "split");
  if (!data || sizes === "unknown") return undefined;
  const axis = axisOf(intAttribute(node, "axis", 0), data.dims.length);
  const parts = node.output.length;
  const length = data.dims[axis]!;
  const chunk = Math.ceil(length / parts);
  return node.output.map((_, i) => {
    const size = sizes?.[i] ?? Math.min(chunk, length - i * chunk);
    return { dims: data.dims.map((dim, at) => (at === axis ? size : dim)), dataType: data.dataType };
  });
};

const concat: ShapeFunction = ({ node, inputs }) => {
  if (inputs.length === 0 || inputs.some((info) => info === undefined)) return undefined;
  const head = inputs[0]!;
  const axis = axisOf(intAttribute(node, "axis", 0), head.dims.length);
  const total = inputs.reduce((sum, info) => sum + (info!.dims[axis] ?? 0), 0);
  return [{ dims: head.dims.map((dim, i) => (i === axis ? total : dim)), dataType: head.dataType }];
};

const flatten: ShapeFunction = ({ node, inputs: [data] }) => {
  if (!data) return undefined;
  const axis = axisOf(intAttribute(node, "axis", 1), data.dims.length);
  const dims = [elementCount(data.dims.slice(0, axis)), elementCount(data.dims.slice(axis))];
  return [{ dims, dataType: data.dataType }];
};

const gemm: ShapeFunction = ({ node, inputs: [a, b] }) => {
  if (!a || !b) return undefined;
  const rows = a.dims[intAttribute(node, "transA", 0) === 1 ? 1 : 0]!;
  const columns = b.dims[intAttribute(node, "transB", 0) === 1 ? 0 : 1]!;
  return [{ dims: [rows, columns], dataType: a.dataType }];
};

const einsum: ShapeFunction = ({ node, inputs }) => {
  if (inputs.some((info) => info === undefined)) return undefined;
  const equation = parseEinsum(stringAttribute(node, "equation") ?? "");
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

const globalPool: ShapeFunction = ({ inputs: [data] }) =>
  data && [{ dims: data.dims.map((dim, i) => (i < 2 ? dim : 1)), dataType: data.dataType }];

const cast: ShapeFunction = ({ node, inputs: [data] }) =>
  data && [{ dims: data.dims, dataType: intAttribute(node, "to", data.dataType) }];

const castLike: ShapeFunction = ({ inputs: [data, like] }) =>
  data && like && [{ dims: data.dims, dataType: like.dataType }];

const where: ShapeFunction = (call) => call.inputs[1] && elementwise(call, call.inputs[1].dataType);

const constantOfShape: ShapeFunction = ({ node, inputs: [shape] }) => {
  if (!shape?.value) return undefined;
  const type = node.attribute.find(({ name }) => name === "value")?.t?.dataType ?? DataType.FLOAT;
  return [{ dims: Array.from(shape.value.data), dataType: type }];
};

const range: ShapeFunction = ({ inputs: [start, limit, delta] }) => {
  const values = [start, limit, delta].map((info) => info?.value?.data[0]);
  if (values.some((value) => value === undefined)) return undefined;
  const count = Math.max(0, Math.ceil((values[1]! - values[0]!) / values[2]!));
  return [{ dims: [count], dataType: start!.dataType }];
};

const tile: ShapeFunction = ({ inputs: [data, repeats] }) =>
  data &&
  repeats?.value && [{ dims: data.dims.map((dim, i) => dim * repeats.value!.data[i]!), dataType: data.dataType }];

const pad: ShapeFunction = (call) => {
  const data = call.inputs[0];
  const pads = integers(call, 1, "pads");
  const axes = call.inputs[3]?.value ? Array.from(call.inputs[3].value.data) : undefined;
  if (!data || !Array.isArray(pads)) return undefined;
  const dims = [...data.dims];
  const padded = axes ?? dims.map((_, i) => i);
  padded.forEach((axis, i) => {
    const at = axisOf(axis, dims.length);
    dims[at] = dims[at]! + pads[i]! + pads[i + padded.length]!;
  });
  return [{ dims, dataType: data.dataType }];
};

const oneHot: ShapeFunction = ({ node, inputs: [indices, depth, values] }) => {
  if (!indices || !values || !depth?.value) return undefined;
  const dims = [...indices.dims];
  dims.splice(axisOf(intAttribute(node, "axis", -1), dims.length + 1), 0, depth.value.data[0]!);
  return [{ dims, dataType: values.dataType }];
};

const topK: ShapeFunction = ({ node, inputs: [data, k] }) => {
  const count = k?.value?.data[0] ?? intAttribute(node, "k");
  if (!data || count === undefined) return undefined;
  const axis = axisOf(intAttribute(node, "axis", -1), data.dims.length);
  const dims = data.dims.map((dim, i) => (i === axis ? count : dim));
  return [
    { dims, dataType: data.dataType },
    { dims, dataType: DataType.INT64 },
  ];
};

const indexed: ShapeFunction = ({ inputs: [data, indices] }) =>
  data && indices && [{ dims: indices.dims, dataType: data.dataType }];

const depthToSpace: ShapeFunction = ({ node, inputs: [data] }) => {
  if (!data || data.dims.length !== 4) return undefined;
  const block = intAttribute(node, "blocksize", 1);
  const [n, c, h, w] = data.dims as [number, number, number, number];
  return node.opType === "DepthToSpace"
    ? [{ dims: [n, c / block ** 2, h * block, w * block], dataType: data.dataType }]
    : [{ dims: [n, c * block ** 2, h / block, w / block], dataType: data.dataType }];
};

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
  ..."Abs Neg Sqrt Exp Log Erf Tanh Sigmoid Relu Gelu Elu LeakyRelu Selu Celu HardSigmoid HardSwish Mish Softplus Softsign".split(
    " ",
  ),
  ..."Floor Ceil Round Sign Reciprocal Sin Cos Tan Asin Acos Atan Sinh Cosh Identity Dropout Clip Softmax LogSoftmax".split(
    " ",
  ),
  ..."Hardmax CumSum Trilu LayerNormalization InstanceNormalization BatchNormalization GroupNormalization".split(" "),
  ..."RMSNormalization LpNormalization RotaryEmbedding ScatterND ScatterElements ScatterND EyeLike ReverseSequence Not".split(
    " ",
  ),
  ..."BitwiseNot ThresholdedRelu Shrink SimplifiedLayerNormalization SkipLayerNormalization Swish".split(" "),
  ..."SkipSimplifiedLayerNormalization FastGelu BiasGelu QuickGelu QuickGelu FusedGelu LRN Scatter".split(" "),
];
const broadcastOperators =
  "Add Sub Mul Div Pow Mod PRelu And Or Xor Min Max Sum Mean BitShift BitwiseAnd BitwiseOr BitwiseXor".split(" ");
const comparisons = "Equal Less LessOrEqual Greater GreaterOrEqual".split(" ");
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
  ["Gemm", gemm],
  ["Einsum", einsum],
  ["Conv", conv],
  ["MaxPool", pool],
  ["AveragePool", pool],
  ["GlobalAveragePool", globalPool],
  ["GlobalMaxPool", globalPool],
  ["Gather", gather],
  ["GatherND", gatherND],
  ["GatherElements", indexed],
  ["Reshape", reshape],
  ["Transpose", transpose],
  ["Squeeze", squeeze],
  ["Unsqueeze", unsqueeze],
  ["Expand", expand],
  ["Slice", slice],
  ["Split", split],
  ["Concat", concat],
  ["Flatten", flatten],
  ["Cast", cast],
  ["CastLike", castLike],
  ["Where", where],
  ["ConstantOfShape", constantOfShape],
  ["Range", range],
  ["Tile", tile],
  ["Pad", pad],
  ["OneHot", oneHot],
  ["TopK", topK],
  ["SpaceToDepth", depthToSpace],
  ["DepthToSpace", depthToSpace],
  ["DequantizeLinear", dequantize],
  ["QuantizeLinear", quantize],
  ["DynamicQuantizeLinear", dynamicQuantize],
  ["EmbedLayerNormalization", embedLayerNorm],
]);
