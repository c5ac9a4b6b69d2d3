import { elementCount } from "@favor/onnx/evaluate";
import { intAttribute, intsAttribute, isStandard, stringAttribute } from "@favor/onnx/graph";
import { elementwiseOperators } from "@favor/onnx/semantics";
import { branched, overwritten } from "./copy-rules.ts";
import { multiplied, summed } from "./product-rules.ts";
import {
  isOne,
  isPresent,
  isSame,
  outputDims,
  positive,
  sizesOf,
  whole,
  type Dims,
  type RowCall,
  type RowRule,
  type RowSources,
} from "./row-call.ts";
import { isPlain, onAxis, throughReshape, wholeAxis, type Rows } from "./rows.ts";

/** The rows of an input that numpy's broadcasting aligns with the output: its own, or all of it if it has no such axis. */
function broadcastSource(call: RowCall, value: string, out: Dims): Rows | "whole" | undefined {
  const dims = call.dims(value);
  if (dims === undefined) return undefined;
  const axis = call.rows.axis - (out[0]!.length - dims[0]!.length);
  if (axis < 0 || isOne(dims, axis)) return "whole";
  return isSame(dims, axis, out, call.rows.axis) ? onAxis(call.rows, axis) : undefined;
}

const elementwise: RowRule = (call) => {
  const out = outputDims(call);
  if (out === undefined) return undefined;
  const inputs: (Rows | undefined)[] = [];
  for (const [index, value] of call.node.input.entries()) {
    // The second input of CastLike is read for its type.
    if (value === "" || (call.node.opType === "CastLike" && index === 1)) {
      inputs.push(whole);
      continue;
    }
    const source = broadcastSource(call, value, out);
    if (source === undefined) return undefined;
    inputs.push(source === "whole" ? whole : source);
  }
  return { inputs };
};

/** The first input has the same rows, all others are read whole. */
const firstInput = ({ node, rows }: RowCall): RowSources => ({
  inputs: node.input.map((_, index) => (index === 0 ? rows : whole)),
});

/** Operators that work along some axes, which they keep. */
const along =
  (axesOf: (call: RowCall, rank: number) => readonly number[] | undefined): RowRule =>
  (call) => {
    const rank = call.dims(call.node.input[0] ?? "")?.[0]!.length;
    const axes = rank === undefined ? undefined : axesOf(call, rank);
    if (axes === undefined || (axes.includes(call.rows.axis) && !call.along)) return undefined;
    return firstInput(call);
  };

const softmaxAxes = ({ node, opset }: RowCall, rank: number): readonly number[] => {
  const first = positive(intAttribute(node, "axis", opset >= 13 || !isStandard(node) ? -1 : 1), rank);
  // Before opset 13 all axes from this one on were one.
  return opset >= 13 ? [first] : Array.from({ length: rank - first }, (_, i) => first + i);
};

const numbersOf = (call: RowCall, input: number, name: string): readonly (readonly number[])[] | undefined => {
  const given = intsAttribute(call.node, name);
  if (given !== undefined) return [given];
  const value = call.node.input[input];
  return isPresent(value) ? call.numbers(value) : undefined;
};

/** The one list of numbers that a value is at all probes. */
function steady(lists: readonly (readonly number[])[] | undefined): readonly number[] | undefined {
  return lists?.every((list) => list.join() === lists[0]!.join()) ? lists[0] : undefined;
}

const cumulated = (call: RowCall, rank: number): readonly number[] | undefined =>
  steady(call.numbers(call.node.input[1] ?? ""))?.map((axis) => positive(axis, rank));

const attributeAxis =
  (otherwise: number) =>
  ({ node }: RowCall, rank: number): readonly number[] => [positive(intAttribute(node, "axis", otherwise), rank)];

/** A normalisation over all axes from `axis` on. */
const fromAxis = ({ node }: RowCall, rank: number): readonly number[] => {
  const first = positive(intAttribute(node, "axis", -1), rank);
  return Array.from({ length: rank - first }, (_, i) => first + i);
};

/** Reductions, which drop or keep the axes that they work along. */
const reduced =
  (axesOf: (call: RowCall, rank: number) => readonly number[] | undefined): RowRule =>
  (call) => {
    const rank = call.dims(call.node.input[0] ?? "")?.[0]!.length;
    const axes = rank === undefined ? undefined : axesOf(call, rank);
    if (rank === undefined || axes === undefined) return undefined;
    const dropped = intAttribute(call.node, "keepdims", 1) === 0 ? new Set(axes) : new Set<number>();
    const axis = Array.from({ length: rank }, (_, i) => i).filter((i) => !dropped.has(i))[call.rows.axis];
    if (axis === undefined || axes.includes(axis)) return undefined;
    return { inputs: call.node.input.map((_, index) => (index === 0 ? onAxis(call.rows, axis) : whole)) };
  };

const reducedAxes = (call: RowCall, rank: number): readonly number[] | undefined => {
  const axes = steady(numbersOf(call, 1, "axes"));
  return axes === undefined || axes.length === 0 ? undefined : axes.map((axis) => positive(axis, rank));
};

/** Reshape, Squeeze, Unsqueeze and Flatten. */
const reshaped: RowRule = (call) => {
  const { node, rows } = call;
  const [from, out] = [call.dims(node.input[0] ?? ""), outputDims(call)];
  const source = from && out && throughReshape(rows, out, from);
  if (source === undefined || (rows.slices.length > 0 && !isPlain(source))) return undefined;
  const inputs = node.input.map((_, index) => (index === 0 ? source : whole));
  if (node.opType !== "Reshape") return { inputs };
  const target = call.numbers(node.input[1] ?? "");
  if (target === undefined) return undefined;
  const entries = sizesOf(target, rows.axis);
  if (entries.some((entry) => Math.sign(entry) !== Math.sign(entries[0]!))) return undefined;
  const copies = intAttribute(node, "allowzero", 0) === 0;
  // A 0 copies the size of the input's axis at its own place, which must not be that of the rows elsewhere.
  if (copies && source.axis !== rows.axis && target.some((list) => list[source.axis] === 0)) return undefined;
  const isSameAxis = source.axis === rows.axis && isSame(from!, source.axis, out!, rows.axis);
  if (entries[0] === -1 || (entries[0] === 0 && copies && isSameAxis)) return { inputs };
  return entries[0]! > 0 ? { inputs, shape: { input: 1, entry: rows.axis } } : undefined;
};

/** Without axes, Squeeze would drop the rows' axis too where a block has one row. */
const squeezed: RowRule = (call) => (numbersOf(call, 1, "axes") === undefined ? undefined : reshaped(call));

const transposed: RowRule = (call) => {
  const rank = outputDims(call)?.[0]!.length ?? 0;
  const perm = intsAttribute(call.node, "perm") ?? Array.from({ length: rank }, (_, axis) => rank - 1 - axis);
  const axis = perm[call.rows.axis];
  return axis === undefined ? undefined : { inputs: [onAxis(call.rows, axis)] };
};

/** Expand: the shape has a number for the axis unless the input has more axes. */
const expanded: RowRule = (call) => {
  const { node, rows } = call;
  const [out, target] = [outputDims(call), call.numbers(node.input[1] ?? "")];
  const source = out && broadcastSource(call, node.input[0] ?? "", out);
  if (source === undefined || target === undefined) return undefined;
  const entry = rows.axis - (out![0]!.length - target[0]!.length);
  const inputs = [source === "whole" ? whole : source, whole];
  const entries = entry < 0 ? [1] : sizesOf(target, entry);
  return entries.every((size) => size === 1) ? { inputs } : { inputs, shape: { input: 1, entry } };
};

const filled: RowRule = ({ rows }) => ({ inputs: [whole], shape: { input: 0, entry: rows.axis } });

const tiled: RowRule = (call) => {
  const { node, rows } = call;
  const [from, repeats] = [call.dims(node.input[0] ?? ""), call.numbers(node.input[1] ?? "")];
  if (from === undefined || repeats === undefined) return undefined;
  if (sizesOf(repeats, rows.axis).every((count) => count === 1)) return firstInput(call);
  return isOne(from, rows.axis) ? { inputs: [whole, whole], shape: { input: 1, entry: rows.axis } } : undefined;
};

const sliced: RowRule = (call) => {
  const { node, rows } = call;
  const [from, out] = [call.dims(node.input[0] ?? ""), outputDims(call)];
  if (from === undefined || out === undefined) return undefined;
  const starts = numbersOf(call, 1, "starts");
  const count = starts?.[0]!.length;
  if (starts === undefined || count === undefined) return undefined;
  const hasAxes = intsAttribute(node, "axes") !== undefined || isPresent(node.input[3]);
  const axes = hasAxes ? steady(numbersOf(call, 3, "axes")) : Array.from({ length: count }, (_, i) => i);
  const steps = isPresent(node.input[4]) ? steady(call.numbers(node.input[4])) : starts[0]!.map(() => 1);
  if (axes === undefined || steps === undefined) return undefined;
  const entry = axes.findIndex((axis) => positive(axis, from[0]!.length) === rows.axis);
  if (entry < 0) return firstInput(call);
  const begin = sizesOf(starts, entry);
  const step = steps[entry]!;
  if (step === 1 && begin.every((start) => start === 0) && isSame(from, rows.axis, out, rows.axis)) {
    return firstInput(call);
  }
  if (call.along)
    return { inputs: node.input.map((_, i) => (i === 0 ? wholeAxis(rows.axis, sizesOf(from, rows.axis)) : whole)) };
  const fromEnd = begin[0]! < 0;
  const isSteady = begin.every((start) => start < 0 === fromEnd);
  // Bounds were attributes before opset 10.
  if (!isPlain(rows) || step < 1 || !isSteady || !isPresent(node.input[1])) return undefined;
  const source: Rows = {
    ...rows,
    size: sizesOf(from, rows.axis),
    slices: [...rows.slices, { node, entry, fromEnd, axis: rows.axis }],
  };
  return { inputs: node.input.map((_, i) => (i === 0 ? source : whole)), as: "unsliced" };
};

const gathered: RowRule = (call) => {
  const { node, rows } = call;
  const [data, indices] = [call.dims(node.input[0] ?? ""), call.dims(node.input[1] ?? "")];
  if (data === undefined || indices === undefined) return undefined;
  const axis = positive(intAttribute(node, "axis", 0), data[0]!.length);
  const rank = indices[0]!.length;
  if (rows.axis >= axis && rows.axis < axis + rank) return { inputs: [whole, onAxis(rows, rows.axis - axis)] };
  return { inputs: [onAxis(rows, rows.axis < axis ? rows.axis : rows.axis - rank + 1), whole] };
};

const gatheredND: RowRule = (call) => {
  const { node, rows } = call;
  const indices = call.dims(node.input[1] ?? "");
  if (indices === undefined) return undefined;
  const shared = intAttribute(node, "batch_dims", 0);
  const ahead = indices[0]!.length - 1;
  if (rows.axis < shared) return { inputs: [rows, rows] };
  if (rows.axis < ahead) return { inputs: [whole, rows] };
  const depth = steady(indices.map((dims) => [dims.at(-1)!]))?.[0];
  return depth === undefined ? undefined : { inputs: [onAxis(rows, shared + depth + rows.axis - ahead), whole] };
};

/** out[i, j] = data[i, index[i, j]]: along another axis, data and indices go together. */
const gatheredElements: RowRule = (call) => {
  const { node, rows } = call;
  const [data, out] = [call.dims(node.input[0] ?? ""), outputDims(call)];
  if (data === undefined || out === undefined) return undefined;
  const axis = positive(intAttribute(node, "axis", 0), out[0]!.length);
  if (rows.axis === axis) return { inputs: [whole, rows] };
  return isSame(data, rows.axis, out, rows.axis) ? { inputs: [rows, rows] } : undefined;
};

const joined: RowRule = (call) => {
  const rank = outputDims(call)?.[0]!.length;
  if (rank === undefined) return undefined;
  const axis = positive(intAttribute(call.node, "axis", 0), rank);
  return axis === call.rows.axis ? undefined : { inputs: call.node.input.map(() => call.rows) };
};

const split: RowRule = (call) => {
  const rank = outputDims(call)?.[0]!.length;
  if (rank === undefined) return undefined;
  return positive(intAttribute(call.node, "axis", 0), rank) === call.rows.axis ? undefined : firstInput(call);
};

const padded: RowRule = (call) => {
  const { node, rows } = call;
  const rank = outputDims(call)?.[0]!.length;
  const pads = numbersOf(call, 1, "pads");
  if (rank === undefined || pads === undefined) return undefined;
  const axes = isPresent(node.input[3])
    ? steady(call.numbers(node.input[3]))
    : Array.from({ length: rank }, (_, i) => i);
  if (axes === undefined) return undefined;
  const entry = axes.findIndex((axis) => positive(axis, rank) === rows.axis);
  const isFree = pads.every((list) => entry < 0 || (list[entry] === 0 && list[entry + axes.length] === 0));
  return isFree ? firstInput(call) : undefined;
};

const triangle: RowRule = (call) => {
  if (call.along) return firstInput(call);
  const rank = outputDims(call)?.[0]!.length ?? 0;
  if (call.rows.axis < rank - 2) return firstInput(call);
  return isPlain(call.rows) ? { ...firstInput(call), as: "triangle" } : undefined;
};

const oneHot: RowRule = (call) => {
  const rank = outputDims(call)?.[0]!.length;
  if (rank === undefined) return undefined;
  const axis = positive(intAttribute(call.node, "axis", -1), rank);
  if (axis === call.rows.axis) return undefined;
  const place = call.rows.axis < axis ? call.rows.axis : call.rows.axis - 1;
  return { inputs: [onAxis(call.rows, place), whole, whole] };
};

/** Scales of one number, or along another axis. */
const quantised: RowRule = (call) => {
  const { node, rows } = call;
  const rank = outputDims(call)?.[0]!.length ?? 0;
  const scale = call.dims(node.input[1] ?? "");
  if (scale === undefined || intAttribute(node, "block_size", 0) !== 0) return undefined;
  const isSingle = scale.every((dims) => elementCount(dims) === 1);
  return isSingle || positive(intAttribute(node, "axis", 1), rank) !== rows.axis ? firstInput(call) : undefined;
};

/** A convolution that does not look along the axis of the rows, as one that mixes heads. */
const convolved: RowRule = (call) => {
  const { node, rows } = call;
  const kernel = call.dims(node.input[1] ?? "")?.[0];
  const at = rows.axis - 2;
  if (kernel === undefined || at < 0 || (stringAttribute(node, "auto_pad") ?? "NOTSET") !== "NOTSET") return undefined;
  const [strides, pads] = [intsAttribute(node, "strides"), intsAttribute(node, "pads")];
  const spatial = kernel.length - 2;
  const isPointwise = kernel[rows.axis] === 1 && (strides?.[at] ?? 1) === 1;
  const isPadded = (pads?.[at] ?? 0) !== 0 || (pads?.[at + spatial] ?? 0) !== 0;
  return isPointwise && !isPadded ? firstInput(call) : undefined;
};

const named = (names: string, rule: RowRule): [string, RowRule][] => names.split(" ").map((name) => [name, rule]);

/** How the rows of each operator's output follow from rows of its inputs; an operator that is not listed mixes them. */
export const rowRules: ReadonlyMap<string, RowRule> = new Map<string, RowRule>([
  ...[...elementwiseOperators].map((name): [string, RowRule] => [name, elementwise]),
  ...named("Identity Dropout", firstInput),
  ...named("Softmax LogSoftmax Hardmax QLinearSoftmax", along(softmaxAxes)),
  ["CumSum", along(cumulated)],
  ["TopK", along(attributeAxis(-1))],
  ...named("LayerNormalization RMSNormalization SimplifiedLayerNormalization", along(fromAxis)),
  ["LpNormalization", along(attributeAxis(-1))],
  ...named(
    "ReduceMax ReduceMin ReduceSum ReduceMean ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare",
    reduced(reducedAxes),
  ),
  ...named("ArgMax ArgMin", reduced(attributeAxis(0))),
  ...named("Reshape Unsqueeze Flatten", reshaped),
  ["Squeeze", squeezed],
  ["Transpose", transposed],
  ["Expand", expanded],
  ["ConstantOfShape", filled],
  ["Tile", tiled],
  ["Slice", sliced],
  ["Gather", gathered],
  ["GatherND", gatheredND],
  ["GatherElements", gatheredElements],
  ["ScatterND", overwritten],
  ["If", branched],
  ["Concat", joined],
  ["Split", split],
  ["Pad", padded],
  ["Trilu", triangle],
  ["OneHot", oneHot],
  ...named("QuantizeLinear DequantizeLinear", quantised),
  ...named("Conv FusedConv", convolved),
  ...named("MatMul FusedMatMul TransposeMatMul Gemm MatMulInteger MatMulIntegerToFloat QLinearMatMul", multiplied),
  ["Einsum", summed],
]);
