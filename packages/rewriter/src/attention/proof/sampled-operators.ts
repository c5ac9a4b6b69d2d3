import { DataType, type NodeProto } from "@favor/onnx";
import { decodeTensor, elementCount, makeData, type Tensor } from "@favor/onnx/evaluate";
import { intAttribute, intsAttribute } from "@favor/onnx/graph";

/** Positions that are kept of some axes of a value, by axis, ascending; all other axes are whole. */
export type Kept = ReadonlyMap<number, readonly number[]>;

export const whole: Kept = new Map();

/** One node of which some positions are wanted. */
export interface SampledCall {
  readonly node: NodeProto;
  /** Wanted of the output, not empty. */
  readonly kept: Kept;
  readonly opset: number;
  /** Dimensions of the whole output. */
  readonly dims: readonly number[];
  readonly dimsOf: (value: string) => readonly number[] | undefined;
  /** No elements of a value's type. */
  readonly emptyOf: (value: string) => Tensor;
  readonly input: (index: number, kept: Kept) => Tensor;
  /** The node on inputs that hold the wanted positions alone. */
  readonly run: (inputs: readonly (Tensor | null)[]) => Tensor;
}

/** The output at the wanted positions; undefined where it must be computed whole. */
type Rule = (call: SampledCall) => Tensor | undefined;

/** Operators that compute each element from those at its place, with numpy's broadcasting. */
const elementwise: Rule = ({ node, kept, dims, dimsOf, emptyOf, input, run }) => {
  const inputs = node.input.map((name, index) => {
    if (name === "") return null;
    const rank = dimsOf(name)?.length;
    // Its type alone is read.
    if (node.opType === "CastLike" && index === 1) return emptyOf(name);
    if (rank === undefined) return undefined;
    return input(
      index,
      moved(kept, (axis) => axis - (dims.length - rank)),
    );
  });
  return inputs.includes(undefined) ? undefined : run(inputs as (Tensor | null)[]);
};

/** Operators that work along one axis alone. */
const alongAxis =
  (axesOf: (call: SampledCall, rank: number) => readonly number[] | undefined, drops: boolean): Rule =>
  (call) => {
    const { node, kept, dimsOf, input, run } = call;
    const rank = dimsOf(node.input[0]!)?.length;
    const axes = rank === undefined ? undefined : axesOf(call, rank);
    if (rank === undefined || axes === undefined) return undefined;
    const removed = drops && intAttribute(node, "keepdims", 1) === 0 ? new Set(axes) : new Set<number>();
    const from = Array.from({ length: rank }, (_, axis) => axis).filter((axis) => !removed.has(axis));
    if ([...kept.keys()].some((axis) => axes.includes(from[axis]!))) return undefined;
    const rest = node.input.slice(1).map((name, i) => (name === "" ? null : input(i + 1, whole)));
    return run([
      input(
        0,
        moved(kept, (axis) => from[axis]!),
      ),
      ...rest,
    ]);
  };

const softmaxAxes = ({ node, opset }: SampledCall, rank: number): readonly number[] | undefined => {
  const axis = intAttribute(node, "axis", opset >= 13 ? -1 : 1);
  const first = axis < 0 ? axis + rank : axis;
  // Before opset 13 all axes from this one on were one.
  return opset >= 13 ? [first] : Array.from({ length: rank - first }, (_, i) => first + i);
};

/** Restricted to some positions of its own axis, a softmax is the softmax of these positions. */
const softmax: Rule = (call) => {
  const axes = softmaxAxes(call, call.dims.length) ?? [];
  const isAlone = axes.length === 1 && call.kept.has(axes[0]!);
  return isAlone ? call.run([call.input(0, call.kept)]) : alongAxis(softmaxAxes, false)(call);
};

const reducedAxes = ({ node, input }: SampledCall, rank: number): readonly number[] | undefined => {
  const given = intsAttribute(node, "axes") ?? ((node.input[1] ?? "") === "" ? [] : Array.from(input(1, whole).data));
  return given.length === 0 ? undefined : given.map((axis) => (axis < 0 ? axis + rank : axis));
};

const cumulated = ({ input }: SampledCall, rank: number): readonly number[] => {
  const [axis = 0] = input(1, whole).data;
  return [axis < 0 ? axis + rank : axis];
};

/** Reshape, Squeeze, Unsqueeze and Flatten: an axis is the same where as many elements lie before it and in it. */
const reshaped: Rule = ({ node, kept, dims, dimsOf, input }) => {
  const from = dimsOf(node.input[0]!);
  if (from === undefined) return undefined;
  const axes = [...kept.keys()].map((axis) => [axis, sameAxis(dims, axis, from)] as const);
  if (axes.some(([, source]) => source === undefined)) return undefined;
  const source = new Map(axes);
  const { data, dataType } = input(
    0,
    moved(kept, (axis) => source.get(axis)!),
  );
  return { dims: sizes(dims, kept), dataType, data };
};

function sameAxis(dims: readonly number[], axis: number, from: readonly number[]): number | undefined {
  const before = elementCount(dims.slice(0, axis));
  const found = from.findIndex((dim, i) => dim === dims[axis] && elementCount(from.slice(0, i)) === before);
  return found < 0 ? undefined : found;
}

const transposed: Rule = ({ node, kept, dims, input, run }) => {
  const perm = intsAttribute(node, "perm") ?? dims.map((_, axis) => dims.length - 1 - axis);
  return run([
    input(
      0,
      moved(kept, (axis) => perm[axis]!),
    ),
  ]);
};

/** Repeats axes of size 1: the others are as they are. */
const expanded: Rule = ({ node, kept, dims, dimsOf, input }) => {
  const rank = dimsOf(node.input[0]!)?.length;
  if (rank === undefined) return undefined;
  return broadcast(
    input(
      0,
      moved(kept, (axis) => axis - (dims.length - rank)),
    ),
    sizes(dims, kept),
  );
};

const filled: Rule = ({ node, kept, dims }) => {
  const value = node.attribute.find(({ name }) => name === "value")?.t;
  const fill = value ? decodeTensor(value) : undefined;
  const out = sizes(dims, kept);
  const dataType = fill?.dataType ?? DataType.FLOAT;
  const data = makeData(dataType, elementCount(out));
  return { dims: out, dataType, data: data.fill(fill?.data[0] ?? 0) };
};

const counted: Rule = ({ kept, input }) => {
  const [start, step] = [input(0, whole), input(2, whole)];
  const positions = kept.get(0)!;
  const data = makeData(start.dataType, positions.length);
  positions.forEach((position, i) => (data[i] = start.data[0]! + position * step.data[0]!));
  return { dims: [positions.length], dataType: start.dataType, data };
};

const sliced: Rule = (call) => {
  const { node, kept, dimsOf, input, dims } = call;
  const from = dimsOf(node.input[0]!);
  if (from === undefined) return undefined;
  const list = (index: number, name: string): number[] | undefined =>
    intsAttribute(node, name) ?? ((node.input[index] ?? "") === "" ? undefined : Array.from(input(index, whole).data));
  const starts = list(1, "starts") ?? [];
  const axes = list(3, "axes") ?? starts.map((_, i) => i);
  const steps = list(4, "steps") ?? starts.map(() => 1);
  const part = new Map<number, readonly number[]>();
  for (let axis = 0; axis < dims.length; axis++) {
    const at = axes.findIndex((given) => (given < 0 ? given + from.length : given) === axis);
    const wanted = kept.get(axis);
    if (at < 0) {
      if (wanted !== undefined) part.set(axis, wanted);
      continue;
    }
    const step = steps[at]!;
    const last = from[axis]! - 1;
    const given = starts[at]! < 0 ? starts[at]! + from[axis]! : starts[at]!;
    const start = Math.min(Math.max(given, 0), step > 0 ? last + 1 : last);
    const positions = wanted ?? Array.from({ length: dims[axis]! }, (_, i) => i);
    part.set(
      axis,
      positions.map((position) => start + position * step),
    );
  }
  return input(0, part);
};

const gathered: Rule = ({ node, kept, dimsOf, input, run }) => {
  const [data, indices] = [dimsOf(node.input[0]!), dimsOf(node.input[1]!)];
  if (data === undefined || indices === undefined) return undefined;
  const given = intAttribute(node, "axis", 0);
  const axis = given < 0 ? given + data.length : given;
  const isIndex = (at: number): boolean => at >= axis && at < axis + indices.length;
  const ofIndices = new Map([...kept].filter(([at]) => isIndex(at)).map(([at, positions]) => [at - axis, positions]));
  const ofData = new Map(
    [...kept]
      .filter(([at]) => !isIndex(at))
      .map(([at, positions]) => [at < axis ? at : at - indices.length + 1, positions]),
  );
  return run([input(0, ofData), input(1, ofIndices)]);
};

const joined: Rule = ({ node, kept, dims, input, run }) => {
  const given = intAttribute(node, "axis", 0);
  const axis = given < 0 ? given + dims.length : given;
  return kept.has(axis) ? undefined : run(node.input.map((_, index) => input(index, kept)));
};

const triangle: Rule = ({ node, kept, dims, input }) => {
  const { dims: own, dataType, data } = input(0, kept);
  const offset = (node.input[1] ?? "") === "" ? 0 : input(1, whole).data[0]!;
  const isUpper = intAttribute(node, "upper", 1) === 1;
  const [rowAxis, columnAxis] = [dims.length - 2, dims.length - 1];
  const [rows, columns] = [own.at(-2)!, own.at(-1)!];
  const made = data.slice();
  for (let at = 0; at < made.length; at++) {
    const column = at % columns;
    const row = Math.floor(at / columns) % rows;
    const distance = (kept.get(columnAxis)?.[column] ?? column) - (kept.get(rowAxis)?.[row] ?? row);
    if (isUpper ? distance < offset : distance > offset) made[at] = 0;
  }
  return { dims: own, dataType, data: made };
};

const same: Rule = ({ kept, input }) => input(0, kept);

const elementwiseOperators =
  "Abs Add And BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Clip Cos Div Equal Erf Exp Floor " +
  "Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual Log Max Mean Min Mod Mul Neg Not Or Pow Reciprocal Relu Round " +
  "Sigmoid Sign Sin Sqrt Sub Sum Tanh Where Xor";
const reductions =
  "ReduceMax ReduceMin ReduceSum ReduceMean ReduceProd ReduceL1 ReduceL2 ReduceLogSumExp ReduceSumSquare";

/** How each operator is computed at some positions; an operator that is not among them is computed whole. */
export const sampledOperators: Readonly<Record<string, Rule>> = {
  ...Object.fromEntries(elementwiseOperators.split(" ").map((type) => [type, elementwise])),
  ...Object.fromEntries(reductions.split(" ").map((type) => [type, alongAxis(reducedAxes, true)])),
  Softmax: softmax,
  LogSoftmax: softmax,
  CumSum: alongAxis(cumulated, false),
  Reshape: reshaped,
  Squeeze: reshaped,
  Unsqueeze: reshaped,
  Flatten: reshaped,
  Transpose: transposed,
  Expand: expanded,
  ConstantOfShape: filled,
  Range: counted,
  Slice: sliced,
  Gather: gathered,
  Concat: joined,
  Trilu: triangle,
  Identity: same,
  Dropout: same,
};

/** The same positions of other axes; those that have no axis (below 0) are left out. */
function moved(kept: Kept, axisOf: (axis: number) => number): Kept {
  return new Map(
    [...kept].map(([axis, positions]) => [axisOf(axis), positions] as const).filter(([axis]) => axis >= 0),
  );
}

/** Sizes of a value of which some positions are kept. */
function sizes(dims: readonly number[], kept: Kept): number[] {
  return dims.map((dim, axis) => (dim === 1 ? 1 : (kept.get(axis)?.length ?? dim)));
}

function broadcast({ dims, dataType, data }: Tensor, to: readonly number[]): Tensor {
  const from = [...Array.from({ length: to.length - dims.length }, () => 1), ...dims];
  const out = makeData(dataType, elementCount(to));
  const strides = from.map((dim, axis) => (dim === 1 ? 0 : elementCount(from.slice(axis + 1))));
  for (let at = 0; at < out.length; at++) {
    let rest = at;
    let source = 0;
    for (let axis = to.length - 1; axis >= 0; axis--) {
      source += (rest % to[axis]!) * strides[axis]!;
      rest = Math.floor(rest / to[axis]!);
    }
    out[at] = data[source]!;
  }
  return { dims: [...to], dataType, data: out };
}
