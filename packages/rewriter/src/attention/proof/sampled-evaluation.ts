import { DataType, type NodeProto } from "@favor/onnx";
import {
  decodeTensor,
  elementCount,
  evaluateGraph,
  evaluateNode,
  makeData,
  tensorOf,
  type Tensor,
} from "@favor/onnx/evaluate";
import { ancestors, intAttribute, intsAttribute, valuesRead, type Graph, type GraphProbe } from "@favor/onnx/graph";
import { finite } from "./region-evaluation.ts";

/** Positions that are kept of some axes of a value, by axis, ascending; all other axes are whole. */
export type Kept = ReadonlyMap<number, readonly number[]>;

const whole: Kept = new Map();
/** A value of more elements is not computed whole. */
const largestWhole = 2 ** 22;

/** A value that would have to be computed whole, and is too large for that, or made of what is given in part. */
export class TooLargeToSample extends Error {}

/**
 * Evaluates a few rows of a mask without the rest of it. A value is asked for with the positions of some of its axes
 * that are wanted, and its operator asks its own inputs for what these positions are made of. What mixes positions along
 * such an axis (a cumulative sum, a scatter, a body of If) is computed whole, if that is small enough.
 */
export class SampledEvaluation {
  readonly #graph: Graph;
  readonly #probe: GraphProbe;
  readonly #feeds: ReadonlyMap<string, Tensor>;
  readonly #spent: { operations: number; readonly most: number };
  /** Values that are given at some positions, and whole nowhere. */
  readonly #given = new Set<string>();
  readonly #known = new Map<string, Tensor>();
  readonly #positions = new Map<readonly number[], number>();

  /**
   * @param feeds inputs of the model, whole
   * @param spent operations so far, and how many there may be
   */
  constructor(
    graph: Graph,
    probe: GraphProbe,
    feeds: ReadonlyMap<string, Tensor>,
    spent: { operations: number; readonly most: number },
  ) {
    this.#graph = graph;
    this.#probe = probe;
    this.#feeds = feeds;
    this.#spent = spent;
  }

  /** Sets a value at some of its positions: it is not computed when these are asked for. */
  give(value: string, kept: Kept, tensor: Tensor): void {
    this.#given.add(value);
    this.#known.set(this.#key(value, kept), tensor);
  }

  /** A value, all of it. */
  whole(value: string): Tensor {
    return this.at(value, whole);
  }

  /**
   * A value at these positions.
   *
   * @throws TooLargeToSample; what `evaluateGraph` throws
   */
  at(value: string, wanted: Kept): Tensor {
    const shape = this.#probe.info.get(value);
    const kept =
      shape === undefined ? wanted : new Map([...wanted].filter(([axis]) => axis >= 0 && shape.dims[axis] !== 1));
    const key = this.#key(value, kept);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const made = this.#stored(value, kept) ?? this.#made(value, kept);
    this.#known.set(key, made);
    return made;
  }

  #key(value: string, kept: Kept): string {
    const axes = [...kept]
      .toSorted(([a], [b]) => a - b)
      .map(([axis, positions]) => {
        const number = this.#positions.get(positions) ?? this.#positions.size;
        this.#positions.set(positions, number);
        return `${axis}:${number}`;
      });
    return `${axes.join()} ${value}`;
  }

  /** Inputs, constants, and what follows from shapes alone. */
  #stored(value: string, kept: Kept): Tensor | undefined {
    const found = this.#feeds.get(value) ?? this.#probe.info.get(value)?.value ?? this.#constant(value);
    return found && take(finite(found), kept);
  }

  #constant(value: string): Tensor | undefined {
    const proto = this.#graph.constantProto(value);
    return proto && decodeTensor(proto);
  }

  #made(value: string, kept: Kept): Tensor {
    const node = this.#graph.owner(value)?.producer(value);
    if (node === undefined || kept.size === 0) return this.#whole(value);
    const rule = rules[node.opType];
    const sampled = node.output[0] === value ? rule?.(this.#call(node, value, kept)) : undefined;
    return sampled ?? take(this.at(value, whole), kept);
  }

  #whole(value: string): Tensor {
    const dims = this.#probe.info.get(value)?.dims;
    if (dims === undefined || elementCount(dims) > largestWhole) throw new TooLargeToSample(value);
    const known = new Map(this.#feeds);
    const nodes = ancestors(this.#graph, [value], (name) => {
      if (this.#given.has(name)) throw new TooLargeToSample(value);
      return this.#probe.info.get(name)?.value !== undefined;
    });
    for (const node of nodes) {
      // Its type alone is read.
      const like = node.opType === "CastLike" ? this.#probe.info.get(node.input[1]!) : undefined;
      if (like !== undefined) known.set(node.input[1]!, tensorOf(like.dataType, [0], []));
      for (const input of valuesRead(node)) {
        const constant = this.#probe.info.get(input)?.value;
        if (constant !== undefined && !known.has(input)) known.set(input, finite(constant));
      }
    }
    const made = evaluateGraph(nodes, [value], known, {
      ...this.#options(),
      initializer: (name) => this.#graph.initializer(name),
      unknownIntegers: "returned",
    });
    return made.get(value)!;
  }

  #options(): Pick<Parameters<typeof evaluateNode>[2], "opsets" | "limits" | "spent"> {
    return { opsets: this.#graph.opsets, limits: { operations: this.#spent.most }, spent: this.#spent };
  }

  #call(node: NodeProto, value: string, kept: Kept): SampledCall {
    const dimsOf = (name: string): readonly number[] | undefined => this.#probe.info.get(name)?.dims;
    return {
      node,
      kept,
      opset: this.#graph.opset,
      dims: dimsOf(value) ?? [],
      dimsOf,
      emptyOf: (name) => tensorOf(this.#probe.info.get(name)?.dataType ?? DataType.FLOAT, [0], []),
      input: (index, part) => this.at(node.input[index]!, part),
      run: (inputs) => evaluateNode(node, inputs, this.#options())[0]!,
    };
  }
}

/** One node of which some positions are wanted. */
interface SampledCall {
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

const rules: Readonly<Record<string, Rule>> = {
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

/** The kept positions of a whole tensor. */
function take(tensor: Tensor, kept: Kept): Tensor {
  let made = tensor;
  for (const [axis, positions] of kept) {
    if (made.dims[axis] === 1 || axis >= made.dims.length) continue;
    const { dims, dataType, data } = made;
    const inner = elementCount(dims.slice(axis + 1));
    const outer = elementCount(dims.slice(0, axis));
    const out = makeData(dataType, outer * positions.length * inner);
    let to = 0;
    for (let o = 0; o < outer; o++) {
      for (const position of positions) {
        const from = (o * dims[axis]! + position) * inner;
        for (let i = 0; i < inner; i++) out[to++] = data[from + i]!;
      }
    }
    made = { dims: dims.map((dim, at) => (at === axis ? positions.length : dim)), dataType, data: out };
  }
  return made;
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
