import { DataType, type NodeProto } from "@favor/onnx";
import type { Bench } from "./bench.ts";
import type { Mutation } from "./mutation.ts";
import { neighbourhood, type Site } from "./sites.ts";

/** How far above the products nodes are written otherwise. */
const reach = 10;

const isFloat = (bench: Bench, value: string): boolean => bench.shape(value)?.dataType === DataType.FLOAT;
const moving = (rank: number): number[] => [...Array.from({ length: rank - 2 }, (_, i) => i), rank - 1, rank - 2];
const flipped = (b: Bench, value: string): string => b.op("Transpose", [value], { perm: moving(b.dims(value).length) });

/** A node of an operator, written in others: what `make` returns stands for its output. */
const rewritten = (
  name: string,
  opType: string,
  make: (bench: Bench, node: NodeProto) => string | undefined,
): Mutation => ({
  name,
  apply: (bench, site) => {
    const node = bench.choices.of(neighbourhood(bench, site, reach).filter((candidate) => candidate.opType === opType));
    if (node === undefined) return false;
    const made = make(bench, node);
    if (made === undefined) return false;
    bench.rename(made, node);
    return true;
  },
});

const scalarOf = (b: Bench, value: string | undefined): number | undefined => {
  const numbers = value === undefined || !isFloat(b, value) ? undefined : b.numbers(value);
  return numbers?.length === 1 ? numbers[0] : undefined;
};

const softmaxAxis = (b: Bench, node: NodeProto): number => {
  const rank = b.dims(node.input[0]!).length;
  const axis = node.attribute.find(({ name }) => name === "axis")?.i.toNumber() ?? (b.opset < 13 ? 1 : -1);
  return axis < 0 ? axis + rank : axis;
};

/** The exponentials of a softmax over the last axis divided by their sum. */
function decomposed(b: Bench, node: NodeProto): string | undefined {
  const value = node.input[0]!;
  const axis = b.dims(value).length - 1;
  if (!isFloat(b, value) || softmaxAxis(b, node) !== axis) return undefined;
  const reduce = (opType: string, of: string): string => {
    const isInput = opType === "ReduceSum" ? b.opset >= 13 : b.opset >= 18;
    return isInput
      ? b.op(opType, [of, b.integers(axis)], { keepdims: 1 })
      : b.op(opType, [of], { axes: [axis], keepdims: 1 });
  };
  const exponentials = b.op("Exp", [b.op("Sub", [value, reduce("ReduceMax", value)])]);
  return b.op("Div", [exponentials, reduce("ReduceSum", exponentials)]);
}

/** x W + b on rows of two axes. */
function asGemm(b: Bench, node: NodeProto): string | undefined {
  const [x, weight] = node.input as [string, string];
  const rank = b.dims(x).length;
  if (rank !== 3 || !b.isConstant(weight) || b.tensor(weight)!.dims.length !== 2 || !isFloat(b, x)) return undefined;
  const [from, to] = b.tensor(weight)!.dims.map((dim) => dim.toNumber()) as [number, number];
  const rows = b.op("Reshape", [x, b.integers(-1, from)]);
  const made = b.op("Gemm", [rows, weight]);
  const lead = b.op("Slice", [b.op("Shape", [x]), b.integers(0), b.integers(2), b.integers(0)]);
  return b.op("Reshape", [made, b.op("Concat", [lead, b.integers(to)], { axis: 0 })]);
}

/** x [W1 W2] as [x W1, x W2]. */
function inHalves(b: Bench, node: NodeProto): string | undefined {
  const [x, weight] = node.input as [string, string];
  const tensor = b.tensor(weight);
  if (tensor?.dims.length !== 2 || !isFloat(b, x)) return undefined;
  const columns = tensor.dims[1]!.toNumber();
  if (columns % 2 !== 0) return undefined;
  const part = (begin: number, end: number): string =>
    b.op("MatMul", [x, b.op("Slice", [weight, b.integers(begin), b.integers(end), b.integers(1)])]);
  return b.op("Concat", [part(0, columns / 2), part(columns / 2, columns)], { axis: -1 });
}

function asEinsum(b: Bench, node: NodeProto): string | undefined {
  const [left, right] = node.input as [string, string];
  const rank = b.dims(left).length;
  if (b.opset < 12 || rank < 3 || b.dims(right).length !== rank || !isFloat(b, left)) return undefined;
  const lead = "abc".slice(0, rank - 2);
  if (b.dims(left).slice(0, -2).join() !== b.dims(right).slice(0, -2).join()) return undefined;
  return b.op("Einsum", [left, right], { equation: `${lead}ij,${lead}jk->${lead}ik` });
}

/** (B^T A^T)^T */
const turnedRound = (b: Bench, node: NodeProto): string | undefined => {
  const [left, right] = node.input as [string, string];
  const ranks = [left, right].map((value) => b.dims(value).length);
  if (ranks[0]! < 3 || ranks[0] !== ranks[1] || b.isConstant(right)) return undefined;
  return b.op("Transpose", [b.op("MatMul", [flipped(b, right), flipped(b, left)])], { perm: moving(ranks[0]!) });
};

const lastSquared = (b: Bench, scale: number): string => b.op("Sqrt", [b.float(scale * scale)]);

/** Operators written in others. */
const operators: readonly Mutation[] = [
  rewritten("Sub as Add of Neg", "Sub", (b, { input }) =>
    isFloat(b, input[0]!) ? b.op("Add", [input[0]!, b.op("Neg", [input[1]!])]) : undefined,
  ),
  rewritten("Mul as Div", "Mul", (b, { input }) => {
    const factor = scalarOf(b, input[1]);
    return factor ? b.op("Div", [input[0]!, b.float(1 / factor)]) : undefined;
  }),
  rewritten("Div as Mul", "Div", (b, { input }) => {
    const divisor = scalarOf(b, input[1]);
    return divisor ? b.op("Mul", [input[0]!, b.float(1 / divisor)]) : undefined;
  }),
  rewritten("Mul in two steps", "Mul", (b, { input }) => {
    const factor = scalarOf(b, input[1]);
    if (!factor || !(factor > 0)) return undefined;
    const root = b.float(Math.sqrt(factor));
    return b.op("Mul", [b.op("Mul", [input[0]!, root]), root]);
  }),
  rewritten("Div by a computed root", "Div", (b, { input }) => {
    const divisor = scalarOf(b, input[1]);
    return divisor && divisor > 0 ? b.op("Div", [input[0]!, lastSquared(b, divisor)]) : undefined;
  }),
  rewritten("Add, operands exchanged", "Add", (b, { input }) => b.op("Add", input.toReversed())),
  rewritten("Mul, operands exchanged", "Mul", (b, { input }) => b.op("Mul", input.toReversed())),
  rewritten("Where the other way round", "Where", (b, { input: [condition, x, y] }) =>
    b.op("Where", [b.op("Not", [condition!]), y!, x!]),
  ),
  rewritten("And by De Morgan", "And", (b, { input: [x, y] }) =>
    b.op("Not", [b.op("Or", [b.op("Not", [x!]), b.op("Not", [y!])])]),
  ),
  rewritten("And as Mul", "And", (b, { input: [x, y] }) => {
    const integer = (value: string): string => b.op("Cast", [value], { to: DataType.INT32 });
    return b.op("Cast", [b.op("Mul", [integer(x!), integer(y!)])], { to: DataType.BOOL });
  }),
  rewritten("Greater as Less", "Greater", (b, { input }) => b.op("Less", input.toReversed())),
  rewritten("LessOrEqual as Not Greater", "LessOrEqual", (b, { input }) => b.op("Not", [b.op("Greater", input)])),
  rewritten("GreaterOrEqual as Not Less", "GreaterOrEqual", (b, { input }) => b.op("Not", [b.op("Less", input)])),
  rewritten("softmax written out", "Softmax", decomposed),
  rewritten("softmax as Exp of LogSoftmax", "Softmax", (b, node) =>
    b.op("Exp", [b.op("LogSoftmax", [node.input[0]!], { axis: softmaxAxis(b, node) })]),
  ),
  rewritten("softmax of a middle axis", "Softmax", (b, node) => {
    const rank = b.dims(node.input[0]!).length;
    if (rank < 3 || b.opset < 13 || softmaxAxis(b, node) !== rank - 1) return undefined;
    const made = b.op("Softmax", [flipped(b, node.input[0]!)], { axis: rank - 2 });
    return b.op("Transpose", [made], { perm: moving(rank) });
  }),
  rewritten("softmax of two axes", "Softmax", (b, node) => {
    const value = node.input[0]!;
    const rank = b.dims(value).length;
    if (rank < 3 || softmaxAxis(b, node) !== rank - 1) return undefined;
    const shape = b.op("Shape", [value]);
    const width = b.op("Slice", [shape, b.integers(rank - 1), b.integers(rank), b.integers(0)]);
    const rows = b.op("Reshape", [value, b.op("Concat", [b.integers(-1), width], { axis: 0 })]);
    return b.op("Reshape", [b.op("Softmax", [rows], { axis: 1 }), shape]);
  }),
  rewritten("MatMul as Einsum", "MatMul", asEinsum),
  rewritten("MatMul turned round", "MatMul", turnedRound),
  rewritten("MatMul as Gemm", "MatMul", asGemm),
  rewritten("MatMul in halves", "MatMul", inHalves),
  rewritten("Transpose in two steps", "Transpose", (b, node) => {
    const perm = node.attribute.find(({ name }) => name === "perm")?.ints.map((axis) => axis.toNumber());
    if (perm === undefined || perm.length < 3) return undefined;
    const first = perm.toReversed();
    return b.op("Transpose", [b.op("Transpose", [node.input[0]!], { perm: first })], {
      perm: perm.map((_, i) => perm.length - 1 - i),
    });
  }),
  rewritten("Reshape by way of one axis", "Reshape", (b, { input }) =>
    isFloat(b, input[0]!) && !b.numbers(input[1]!)?.includes(0)
      ? b.op("Reshape", [b.op("Reshape", [input[0]!, b.integers(-1)]), input[1]!])
      : undefined,
  ),
  rewritten("Concat of a copy's shape", "Shape", (b, { input, attribute }) =>
    attribute.length === 0 ? b.op("Shape", [b.op("Identity", [input[0]!])]) : undefined,
  ),
];

/** What changes nothing (axes shorter than a head's may be lengths, which are not split), put after a value on the way from the projections to the output. */
const detours: readonly (readonly [string, (b: Bench, value: string) => string])[] = [
  ["Identity", (b, v) => b.op("Identity", [v], {}, v)],
  [
    "a pair of Transpose",
    (b, v) => {
      const perm = moving(b.dims(v).length);
      return b.op("Transpose", [b.op("Transpose", [v], { perm })], { perm }, v);
    },
  ],
  [
    "Unsqueeze and Squeeze",
    (b, v) => {
      const wide = b.unsqueeze(v, [1]);
      return b.opset < 13 ? b.op("Squeeze", [wide], { axes: [1] }, v) : b.op("Squeeze", [wide, b.integers(1)], {}, v);
    },
  ],
  ["Reshape to its own shape", (b, v) => b.op("Reshape", [v, b.op("Shape", [v])], {}, v)],
  ["Flatten and Reshape", (b, v) => b.op("Reshape", [b.op("Flatten", [v], { axis: 2 }), b.op("Shape", [v])], {}, v)],
  ["Expand to its own shape", (b, v) => b.op("Expand", [v, b.op("Shape", [v])], {}, v)],
  ["Cast to double and back", (b, v) => b.cast(b.cast(v, DataType.DOUBLE), DataType.FLOAT)],
  ["times one", (b, v) => b.op("Mul", [v, b.float(1)], {}, v)],
  ["plus zero", (b, v) => b.op("Add", [v, b.float(0)], {}, v)],
  [
    "Dropout of inference",
    (b, v) => (b.opset < 12 ? b.op("Dropout", [v], {}, v) : b.op("Dropout", [v, b.float(0.1)], {}, v)),
  ],
  [
    "Slice of everything",
    (b, v) => b.op("Slice", [v, b.integers(0), b.constant(DataType.INT64, [1], [2 ** 31]), b.integers(1)], {}, v),
  ],
  [
    "split and joined",
    (b, v) => {
      const axis = b.dims(v).length - 1;
      const width = b.dims(v)[axis]!;
      const part = (from: number, to: number): string =>
        b.op("Slice", [v, b.integers(from), b.integers(to), b.integers(axis)]);
      return width < 16 || width % 2 === 1
        ? b.op("Identity", [v], {}, v)
        : b.op("Concat", [part(0, width / 2), part(width / 2, 2 ** 31)], { axis }, v);
    },
  ],
];
/** Logits are not split along their keys. */
const alongLogits = detours.filter(([name]) => name !== "split and joined");
/** What changes logits by nothing that a softmax notices. */
const onLogits: readonly (readonly [string, (b: Bench, value: string) => string])[] = [
  ["at least float32's lowest", (b, v) => b.op("Max", [v, b.float(-3.4028234663852886e38)], {}, v)],
  ["within 50,000", (b, v) => b.op("Clip", [v, b.float(-5e4), b.float(5e4)], {}, v)],
  [
    "less their maximum",
    (b, v) => {
      const axis = b.dims(v).length - 1;
      const largest =
        b.opset >= 18 ? b.op("ReduceMax", [v, b.integers(axis)]) : b.op("ReduceMax", [v], { axes: [axis] });
      return b.op("Sub", [v, largest], {}, v);
    },
  ],
  ["plus a number", (b, v) => b.op("Add", [v, b.float(0.7)], {}, v)],
];
const onProbabilities: readonly (readonly [string, (b: Bench, value: string) => string])[] = [
  ["0 for NaN", (b, v) => b.op("Where", [b.op("IsNaN", [v]), b.float(0), v], {}, v)],
  ["between 0 and 1", (b, v) => b.op("Clip", [v, b.float(0), b.float(1)], {}, v)],
];

const inserted = (
  prefix: string,
  makers: readonly (readonly [string, (b: Bench, value: string) => string])[],
  valuesOf: (b: Bench, site: Site) => readonly string[],
): Mutation[] =>
  makers.map(([name, make]) => ({
    name: `${prefix}: ${name}`,
    apply: (bench, site) => {
      const candidates = valuesOf(bench, site).filter(
        (value) => isFloat(bench, value) && bench.dims(value).length >= 3,
      );
      const value = bench.choices.of(candidates);
      if (value === undefined) return false;
      bench.insertAfter(value, (from) => make(bench, from));
      return true;
    },
  }));

const wayIn = (b: Bench, site: Site): string[] =>
  neighbourhood(b, site, 5).flatMap(({ output }) => output.filter((value) => !b.isConstant(value)));

/** A value that several nodes read is computed again for one of them. */
function duplicate(bench: Bench, site: Site): boolean {
  const shared = neighbourhood(bench, site, reach).filter(
    ({ output, attribute }) =>
      attribute.every(({ g }) => !g) && output.some((value) => bench.consumers(value).length > 1),
  );
  const node = bench.choices.of(shared);
  if (node === undefined) return false;
  const value = node.output.find((name) => bench.consumers(name).length > 1)!;
  const reader = bench.choices.of(bench.consumers(value))!;
  const copy = bench.copyOf(node);
  reader.input = reader.input.map((name) => (name === value ? copy[node.output.indexOf(value)]! : name));
  return true;
}

/** A constant is held another way: by an initializer, a Constant node, or made by ConstantOfShape. */
function holdOtherwise(bench: Bench, site: Site): boolean {
  const uses = neighbourhood(bench, site, reach).flatMap((node) =>
    node.input.flatMap((value, at) =>
      bench.isConstant(value) && bench.numbers(value)!.length < 4096 ? [{ node, value, at }] : [],
    ),
  );
  const use = bench.choices.of(uses);
  if (use === undefined) return false;
  use.node.input[use.at] = bench.heldOtherwise(use.value);
  return true;
}

/** Changes of how a graph is written that change nothing of what it computes. */
export const synonyms: readonly (readonly Mutation[])[] = [
  operators,
  operators,
  inserted("anywhere", detours, wayIn),
  inserted("logits", alongLogits, (_, site) => site.before),
  inserted("logits", onLogits, (_, site) => site.before.slice(-1)),
  inserted("probabilities", [...alongLogits, ...onProbabilities], (_, site) => site.after),
  [
    { name: "computed twice", apply: duplicate },
    { name: "constant held otherwise", apply: holdOtherwise },
  ],
];
