import { DataType } from "@favor/onnx";
import type { Bench } from "./bench.ts";
import type { Mutation } from "./mutation.ts";
import type { Site } from "./sites.ts";

type Place = "logits" | "probabilities" | "query" | "key" | "value";
type Make = (bench: Bench, value: string) => string;

const isFloat = (bench: Bench, value: string): boolean => bench.shape(value)?.dataType === DataType.FLOAT;
const unary =
  (opType: string): Make =>
  (b, v) =>
    b.op(opType, [v], {}, v);
const scalar =
  (opType: string, number: number): Make =>
  (b, v) =>
    b.op(opType, [v, b.float(number)], {}, v);
const clip =
  (bound: number): Make =>
  (b, v) =>
    b.op("Clip", [v, b.float(-bound), b.float(bound)], {}, v);
const throughType =
  (type: number): Make =>
  (b, v) =>
    b.cast(b.cast(v, type), DataType.FLOAT);

/** 0, 1, 2, ... along one axis, of as many axes as the value has. */
export function positions(b: Bench, value: string, axis: number): string {
  const count = b.op("Gather", [b.op("Shape", [value]), b.constant(DataType.INT64, [], [axis])]);
  const range = b.op("Range", [b.constant(DataType.INT64, [], [0]), count, b.constant(DataType.INT64, [], [1])]);
  const dims = b.dims(value).map((_, at) => (at === axis ? -1 : 1));
  return b.op("Reshape", [b.op("Cast", [range], { to: DataType.FLOAT }), b.integers(...dims)]);
}

/** An axis counted from the end; undefined where the value has fewer. */
const fromEnd = (b: Bench, value: string, axis: number): number => b.dims(value).length + axis;

/** Combined with its positions along an axis, times a factor. */
const ramp =
  (opType: string, axis: number, factor: number, offset: number = 0): Make =>
  (b, v) => {
    const scaled = b.op("Mul", [positions(b, v, fromEnd(b, v, axis)), b.float(factor)]);
    return b.op(opType, [v, b.op("Add", [scaled, b.float(offset)])], {}, v);
  };

const reversed =
  (axis: number): Make =>
  (b, v) => {
    const ends = b.constant(DataType.INT64, [1], [-2147483647]);
    return b.op("Slice", [v, b.integers(-1), ends, b.integers(fromEnd(b, v, axis)), b.integers(-1)], {}, v);
  };

/** Every entry becomes its neighbour along an axis. */
const rolled =
  (axis: number): Make =>
  (b, v) => {
    const at = fromEnd(b, v, axis);
    const part = (from: number, to: number): string =>
      b.op("Slice", [v, b.integers(from), b.constant(DataType.INT64, [1], [to]), b.integers(at)]);
    return b.op("Concat", [part(1, 2147483647), part(0, 1)], { axis: at }, v);
  };

const exchanged: Make = (b, v) => {
  const rank = b.dims(v).length;
  const perm = Array.from({ length: rank }, (_, i) => (i === rank - 1 ? rank - 2 : i === rank - 2 ? rank - 1 : i));
  return b.op("Transpose", [v], { perm }, v);
};

/** The maximum over an axis, or the value, whichever is less by a factor: mixes what lies along the axis. */
const mixed =
  (axis: number): Make =>
  (b, v) =>
    b.op("Add", [v, b.op("Mul", [reversed(axis)(b, v), b.float(0.3)])], {}, v);

/** The whole-number input of two axes that has the most values: token ids, if there are any. */
function tokens(b: Bench): string | undefined {
  const inputs = b.graph.input.map(({ name }) => name);
  return inputs.find((name) => b.dims(name).length === 2 && /ids|tokens/.test(name) && b.shape(name)?.dataType !== 1);
}

/** Combined with a number that the first token decides, or that each key's token decides. */
const byContent =
  (opType: string, each: "batch" | "key" | "query"): Make =>
  (b, v) => {
    const ids = tokens(b);
    if (ids === undefined) return v;
    const float = b.op("Mul", [b.op("Cast", [ids], { to: DataType.FLOAT }), b.float(0.02)]);
    const rank = b.dims(v).length;
    const middle = Array.from({ length: Math.max(0, rank - 2) }, (_, i) => i + 1);
    const column = b.op("Slice", [float, b.integers(0), b.integers(1), b.integers(1)]);
    const spread =
      each === "key"
        ? b.unsqueeze(float, middle)
        : each === "query"
          ? b.unsqueeze(float, [...middle.slice(0, -1), rank - 1])
          : b.unsqueeze(column, middle);
    return b.op(opType, [v, b.op("Add", [spread, b.float(opType === "Mul" ? 1 : 0)])], {}, v);
  };

/** Kept where key position - query position - offset is below 0; 0 elsewhere, or `fill`. */
const triangle =
  (offset: number, fill: number): Make =>
  (b, v) => {
    const distance = b.op("Sub", [positions(b, v, fromEnd(b, v, -1)), positions(b, v, fromEnd(b, v, -2))]);
    return b.op("Where", [b.op("Less", [distance, b.float(offset)]), v, b.float(fill)], {}, v);
  };

/** `fill` where the position along an axis is below, or not below, a bound. */
const cut =
  (axis: number, bound: number, side: "below" | "from", fill: number): Make =>
  (b, v) => {
    const below = b.op("Less", [positions(b, v, fromEnd(b, v, axis)), b.float(bound)]);
    const choices = side === "below" ? [b.float(fill), v] : [v, b.float(fill)];
    return b.op("Where", [below, ...choices], {}, v);
  };

/** Halves the value in inputs that hold a large token. */
const conditional: Make = (b, v) => {
  const ids = tokens(b);
  if (ids === undefined) return v;
  const largest = b.op("ReduceMax", [b.op("Cast", [ids], { to: DataType.FLOAT })], { keepdims: 0 });
  const isLarge = b.op("Greater", [largest, b.float(20)]);
  return b.op("Where", [isLarge, b.op("Mul", [v, b.float(0.5)]), v], {}, v);
};

/** Times log(length) / log(bound) beyond the bound, as in models that read longer inputs than they were trained on. */
const byLength =
  (bound: number): Make =>
  (b, v) => {
    const count = b.op("Gather", [b.op("Shape", [v]), b.constant(DataType.INT64, [], [fromEnd(b, v, -1)])]);
    const ratio = b.op("Div", [b.op("Log", [b.op("Cast", [count], { to: DataType.FLOAT })]), b.float(Math.log(bound))]);
    return b.op("Mul", [v, b.op("Max", [ratio, b.float(1)])], {}, v);
  };

/** The maximum along an axis, which stays with size 1. */
const largest = (b: Bench, v: string, axis: number): string =>
  b.opset >= 18
    ? b.op("ReduceMax", [v, b.integers(fromEnd(b, v, axis))], { keepdims: 1 })
    : b.op("ReduceMax", [v], { axes: [fromEnd(b, v, axis)], keepdims: 1 });

const randomDropout: Make = (b, v) =>
  b.opset < 12 ? v : b.op("Dropout", [v, b.float(0.4), b.constant(DataType.BOOL, [], [1])], {}, v);

const makers: readonly (readonly [name: string, places: string, make: Make])[] = [
  ["times 0.5", "logits probabilities query key value", scalar("Mul", 0.5)],
  ["times -1", "logits probabilities query key value", unary("Neg")],
  ["times 3", "logits query", scalar("Mul", 3)],
  ["plus 0.3", "logits probabilities query key value", scalar("Add", 0.3)],
  ["squared", "logits probabilities", (b, v) => b.op("Mul", [v, v], {}, v)],
  ["Relu", "logits probabilities query value", unary("Relu")],
  ["Tanh", "logits query key", unary("Tanh")],
  ["Sigmoid", "logits", unary("Sigmoid")],
  ["Abs", "logits", unary("Abs")],
  ["Floor", "logits probabilities", unary("Floor")],
  ["Softplus", "logits", unary("Softplus")],
  ["Erf", "logits", unary("Erf")],
  ["LeakyRelu", "logits", unary("LeakyRelu")],
  ["Softmax again", "logits probabilities", (b, v) => b.op("Softmax", [v], { axis: fromEnd(b, v, -1) }, v)],
  ["Softmax of queries", "logits probabilities", (b, v) => b.op("Softmax", [v], { axis: fromEnd(b, v, -2) }, v)],
  ["clipped to 2", "logits", clip(2)],
  ["clipped to 30", "logits", clip(30)],
  ["clipped to 0.1", "probabilities", clip(0.1)],
  ["at most 5", "logits", (b, v) => b.op("Min", [v, b.float(5)], {}, v)],
  ["at least -5", "logits", (b, v) => b.op("Max", [v, b.float(-5)], {}, v)],
  ["at least -25", "logits", (b, v) => b.op("Max", [v, b.float(-25)], {}, v)],
  [
    "zero below 0.05",
    "probabilities",
    (b, v) => b.op("Where", [b.op("Less", [v, b.float(0.05)]), b.float(0), v], {}, v),
  ],
  ["through int32", "logits probabilities", throughType(DataType.INT32)],
  ["through float16", "logits", throughType(DataType.FLOAT16)],
  ["a bias of the key's position", "logits", ramp("Add", -1, 0.2)],
  ["a small bias of the key's position", "logits", ramp("Add", -1, 0.004)],
  ["a bias of the query's position", "logits", ramp("Add", -2, 0.2)],
  ["a bias of the head", "logits", ramp("Add", -3, 0.2)],
  ["a factor of the key's position", "logits probabilities", ramp("Mul", -1, 0.1, 1)],
  ["a factor of the query's position", "logits probabilities", ramp("Mul", -2, 0.1, 1)],
  ["a factor of the head", "logits probabilities", ramp("Mul", -3, 0.5, 1)],
  ["keys reversed", "logits probabilities", reversed(-1)],
  ["queries reversed", "logits probabilities", reversed(-2)],
  ["heads reversed", "logits probabilities query value", reversed(-3)],
  ["batch reversed", "logits probabilities query key value", (b, v) => reversed(-b.dims(v).length)(b, v)],
  ["positions reversed", "query value", reversed(-2)],
  ["keys moved by one", "logits probabilities", rolled(-1)],
  ["queries moved by one", "logits probabilities", rolled(-2)],
  ["positions moved by one", "query value", rolled(-2)],
  ["queries and keys exchanged", "logits probabilities", exchanged],
  ["mixed over keys", "logits probabilities", mixed(-1)],
  ["mixed over queries", "logits probabilities", mixed(-2)],
  ["mixed over heads", "logits probabilities", mixed(-3)],
  ["a factor of the first token", "logits probabilities", byContent("Mul", "batch")],
  ["a bias of the first token", "logits probabilities", byContent("Add", "batch")],
  ["a bias of the key's token", "logits probabilities", byContent("Add", "key")],
  ["a factor of the key's token", "logits probabilities", byContent("Mul", "key")],
  ["a factor of the query's token", "logits probabilities", byContent("Mul", "query")],
  ["earlier keys alone", "logits", triangle(0, -1e9)],
  ["causal", "logits", triangle(0.5, -1e9)],
  ["causal but for one", "logits", triangle(1.5, -1e9)],
  ["causal after the softmax", "probabilities", triangle(0.5, 0)],
  ["later keys at -1", "logits", triangle(0.5, -1)],
  ["later keys at -30", "logits", triangle(0.5, -30)],
  ["later keys at 0", "logits", triangle(0.5, 0)],
  ["without the first key", "logits", cut(-1, 1, "below", -1e9)],
  ["the first four keys", "logits", cut(-1, 4, "from", -1e9)],
  ["the first twenty keys", "logits", cut(-1, 20, "from", -1e9)],
  ["the first keys after the softmax", "probabilities", cut(-1, 4, "from", 0)],
  ["the first queries alone", "logits", cut(-2, 4, "from", -1e9)],
  ["the first queries at 0", "logits", cut(-2, 4, "from", 0)],
  ["the first head alone", "logits", cut(-3, 1, "from", 0)],
  ["half in some inputs", "logits probabilities query", conditional],
  ["a factor of the length beyond 20", "logits query", byLength(20)],
  [
    "less half the largest of the heads",
    "logits",
    (b, v) => b.op("Sub", [v, b.op("Mul", [largest(b, v, -3), b.float(0.5)])], {}, v),
  ],
  ["Dropout of training", "logits probabilities", randomDropout],
];

/** The values that stand at a place of a site. */
function valuesAt(site: Site, place: Place): { values: readonly string[]; at?: number } {
  const keyAt = 1;
  switch (place) {
    case "logits":
      return { values: site.before };
    case "probabilities":
      return { values: site.after };
    case "query":
      return { values: [site.logits.input[0]!], at: 0 };
    case "key":
      return { values: [site.logits.input[keyAt]!], at: keyAt };
    case "value":
      return { values: [site.output.input[1 - site.probabilitiesAt]!], at: 1 - site.probabilitiesAt };
  }
}

/** Operators put between queries and keys, their product, the softmax and the values. */
export const insertions: readonly Mutation[] = makers.flatMap(([name, places, make]) =>
  (places.split(" ") as Place[]).map((place) => ({
    name: `${place}: ${name}`,
    apply: (bench: Bench, site: Site): boolean => {
      const { values, at } = valuesAt(site, place);
      const value = bench.choices.of(values)!;
      const rank = bench.dims(value).length;
      if (!isFloat(bench, value) || rank < 3) return false;
      if (at === undefined) bench.insertAfter(value, (from) => make(bench, from));
      else bench.insertBefore(place === "value" ? site.output : site.logits, at, (from) => make(bench, from));
      return true;
    },
  })),
);
