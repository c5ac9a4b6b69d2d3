import { DataType } from "@favor/onnx";
import { dim, hiddenStates, layerModel, paddingMask } from "@favor/test-support/layer";
import type { Layer, LayerInput, LayerOptions } from "@favor/test-support/layer";
import { valueInfo } from "@favor/test-support/small-model";
import { describe, expect, test } from "vitest";
import { inspectAttention } from "../../src/model-attention.ts";

// Each of these is a softmax with a padding or causal mask, or with none, on inputs of a few tokens, zeros and ones.

type Normalise = (b: Layer, logits: string) => string;

interface Case extends LayerOptions {
  readonly name: string;
  readonly attend: Normalise;
}

const input = (name: string, dataType: number, ...dims: (number | string)[]): LayerInput => ({ name, dataType, dims });
const ids = input("ids", DataType.INT64, "batch", "length");
const positionIds = input("positions", DataType.INT64, "batch", "length");

/** Attention with a padding mask and whatever else. */
const padded =
  (normalise: Normalise): Normalise =>
  (b, s) =>
    normalise(b, b.op("Add", [s, b.paddingBias()]));

const softmax: Normalise = (b, s) => b.softmax(s);
const hideUnless =
  (keep: (b: Layer) => string): Normalise =>
  (b, s) =>
    b.softmax(b.masked(keep(b), s));
const plus =
  (bias: (b: Layer) => string): Normalise =>
  (b, s) =>
    b.softmax(b.op("Add", [s, bias(b)]));
const times =
  (factor: (b: Layer) => string): Normalise =>
  (b, s) =>
    b.softmax(b.op("Mul", [s, factor(b)]));

const float = (b: Layer, value: string): string => b.cast(value, DataType.FLOAT);
const distance = (b: Layer): string => b.op("Abs", [b.distances()]);
const floatDistance = (b: Layer): string => float(b, distance(b));
const length = (b: Layer): string => float(b, b.squeeze(b.dimension("x", 1), [0]));
const batch = (b: Layer): string => float(b, b.squeeze(b.dimension("x", 0), [0]));
/** One value per query and one per key: [batch, 1, length, 1] and [batch, 1, 1, length]. */
const ofQueries = (b: Layer, value: string): string => b.unsqueeze(value, [1, 3]);
const ofKeys = (b: Layer, value: string): string => b.unsqueeze(value, [1, 2]);
const sameOf = (b: Layer, value: string): string => b.op("Equal", [ofQueries(b, value), ofKeys(b, value)]);
const floored = (b: Layer, value: string, by: number): string =>
  b.op("Floor", [b.op("Mul", [float(b, value), b.scalar(1 / by)])]);
const apart = (b: Layer, value: string): [string, string] => [b.unsqueeze(value, [0]), b.unsqueeze(value, [1])];

const cases: readonly Case[] = [
  {
    name: "a window of its own for each head",
    attend: hideUnless((b) => {
      const bounds = b.reshape(b.integers([64, 512]), [1, 2, 1, 1]);
      return b.op("LessOrEqual", [b.unsqueeze(distance(b), [0, 1]), bounds]);
    }),
  },
  {
    name: "blocks by division, written as a product",
    attend: hideUnless((b) => b.op("Equal", apart(b, floored(b, b.positions(), 100)))),
  },
  {
    name: "blocks by the remainder of positions",
    attend: hideUnless((b) => {
      const at = b.positions();
      const start = b.op("Sub", [at, b.op("Mod", [at, b.integer(90)])]);
      return b.op("Equal", apart(b, start));
    }),
  },
  {
    name: "a wide Gaussian of the distance",
    attend: plus((b) => {
      const share = b.op("Mul", [floatDistance(b), b.scalar(1 / 400)]);
      return b.op("Mul", [b.op("Mul", [share, share]), b.scalar(-0.5)]);
    }),
  },
  {
    name: "a scale that grows with the length beyond 512",
    attend: times((b) =>
      b.op("Div", [b.op("Log", [b.op("Max", [length(b), b.scalar(512)])]), b.scalar(Math.log(512))]),
    ),
  },
  {
    name: "a scale that grows with the square root of the length beyond 300",
    attend: times((b) => b.op("Sqrt", [b.op("Max", [b.scalar(1), b.op("Mul", [length(b), b.scalar(1 / 300)])])])),
  },
  {
    name: "a temperature that rises every 1,024 queries",
    attend: times((b) => {
      const steps = b.op("Log", [b.op("Add", [floored(b, b.positions(), 1024), b.scalar(1)])]);
      const factor = b.op("Add", [b.op("Mul", [steps, b.scalar(0.1)]), b.scalar(1)]);
      return b.unsqueeze(factor, [1]);
    }),
  },
  {
    name: "a scale by whether the length is even",
    attend: times((b) =>
      b.op("Add", [
        b.op("Mul", [b.op("Mod", [length(b), b.scalar(2)], { fmod: { int: 1 } }), b.scalar(0.2)]),
        b.scalar(1),
      ]),
    ),
  },
  {
    name: "a scale by the batch",
    attend: times((b) => b.op("Max", [b.op("Mul", [batch(b), b.scalar(0.51)]), b.scalar(1.53)])),
  },
  {
    name: "small probabilities set to zero",
    attend: (b, s) => {
      const p = b.softmax(s);
      return b.op("Where", [b.op("Less", [p, b.scalar(4e-4)]), b.scalar(0), p]);
    },
  },
  {
    name: "an input that multiplies the probabilities of each head",
    inputs: [hiddenStates, paddingMask, input("head_mask", DataType.FLOAT, 2)],
    attend: padded((b, s) => b.op("Mul", [b.softmax(s), b.reshape("head_mask", [1, 2, 1, 1])])),
  },
  {
    name: "a temperature as input",
    inputs: [hiddenStates, paddingMask, input("temperature", DataType.FLOAT)],
    attend: padded((b, s) => b.softmax(b.op("Div", [s, b.op("Max", ["temperature", b.scalar(1)])]))),
  },
  {
    name: "packed segments numbered in the attention mask",
    attend: hideUnless((b) => b.op("And", [sameOf(b, "mask"), b.op("Greater", [ofKeys(b, "mask"), b.integer(0)])])),
  },
  {
    name: "a window over position ids that are fed",
    inputs: [hiddenStates, paddingMask, positionIds],
    attend: padded(
      hideUnless((b) => {
        const between = b.op("Sub", [ofQueries(b, "positions"), ofKeys(b, "positions")]);
        return b.op("LessOrEqual", [b.op("Abs", [between]), b.integer(64)]);
      }),
    ),
  },
  {
    name: "tokens that a table hides",
    inputs: [hiddenStates, ids],
    attend: plus((b) => {
      const table = b.floats(
        "hides",
        [50],
        Float32Array.from({ length: 50 }, (_, id) => (id % 12 === 0 ? -1e9 : 0)),
      );
      const bias = ofKeys(b, b.op("Gather", [table, "ids"]));
      return b.op("Add", [bias, b.op("Mul", [float(b, sameOf(b, "ids")), b.scalar(0.5)])]);
    }),
  },
  {
    name: "padding laid over the heads",
    attend: (b, s) => b.softmax(b.op("Add", [s, b.transpose(b.paddingBias(), [1, 0, 2, 3])])),
  },
];

const intLength = (b: Layer): string => b.squeeze(b.dimension("x", 1), [0]);
const intBatch = (b: Layer): string => b.squeeze(b.dimension("x", 0), [0]);
/** Times a factor where a condition holds. */
const timesIf = (condition: (b: Layer) => string): Normalise =>
  times((b) => b.op("Where", [condition(b), b.scalar(0.5), b.scalar(1)]));
/** A query, by its position, that sees itself alone. */
const alone = (isIt: (b: Layer, at: string) => string): Normalise =>
  hideUnless((b) => {
    const others = b.op("Not", [b.unsqueeze(isIt(b, b.positions()), [1])]);
    return b.op("Or", [others, b.op("Equal", [b.distances(), b.integer(0)])]);
  });
/** The first positions with one bias and those that follow with another. */
const joinedAt = (b: Layer, bound: number): string => {
  const near = b.op("Min", [b.dimension("x", 1), b.integers([bound])]);
  const far = b.op("Sub", [b.dimension("x", 1), near]);
  return b.concat([b.op("Expand", [b.scalar(0), near]), b.op("Expand", [b.scalar(-30), far])], 0);
};
const withIds = [hiddenStates, paddingMask, ids];
const softMask = input("soft", DataType.FLOAT, "batch", "length");
const tokenTypes = input("types", DataType.INT64, "batch", "length");
const countOf = (b: Layer, id: number): string =>
  b.op("CumSum", [b.cast(b.op("Equal", ["ids", b.integer(id)]), DataType.INT64), b.integer(1)]);

/** What a few sampled rows do not show by chance: it is looked for. */
const rareCases: readonly Case[] = [
  { name: "one query that sees itself alone", attend: alone((b, at) => b.op("Equal", [at, b.integer(1234)])) },
  {
    name: "one query, by its square, that sees itself alone",
    attend: alone((b, at) => b.op("Equal", [b.op("Mul", [at, at]), b.integer(1234 ** 2)])),
  },
  {
    name: "every 97th query sees itself alone",
    attend: alone((b, at) => b.op("Equal", [b.op("Mod", [at, b.integer(97)]), b.integer(13)])),
  },
  {
    name: "a window of 100,000.5, too wide to be seen whole",
    attend: hideUnless((b: Layer) => b.op("Less", [floatDistance(b), b.scalar(100_000.5)])),
  },
  { name: "a scale of batches of four", attend: timesIf((b) => b.op("Equal", [intBatch(b), b.integer(4)])) },
  { name: "a scale of batches beyond 15", attend: timesIf((b) => b.op("Greater", [intBatch(b), b.integer(15)])) },
  { name: "a scale of one length", attend: timesIf((b) => b.op("Equal", [intLength(b), b.integer(777)])) },
  { name: "a scale of very short inputs", attend: timesIf((b) => b.op("Less", [intLength(b), b.integer(5)])) },
  {
    name: "a scale of every eleventh length",
    attend: timesIf((b) => b.op("Equal", [b.op("Mod", [intLength(b), b.integer(11)]), b.integer(5)])),
  },
  {
    name: "a scale that grows beyond 100,000 tokens",
    attend: times((b) => b.op("Max", [b.op("Mul", [length(b), b.scalar(1e-5)]), b.scalar(1)])),
  },
  {
    name: "the first key hidden from item 5 of a batch",
    attend: hideUnless((b) => {
      const item = b.op("Equal", [b.op("Range", [b.integer(0), intBatch(b), b.integer(1)]), b.integer(5)]);
      const key = b.op("Equal", [b.positions(), b.integer(0)]);
      return b.op("Not", [b.op("And", [b.reshape(item, [-1, 1, 1, 1]), b.reshape(key, [1, 1, 1, -1])])]);
    }),
  },
  {
    name: "a scale of many tokens that count",
    attend: padded(
      timesIf((b) => b.op("Greater", [b.op("ReduceSum", ["mask"], { keepdims: { int: 0 } }), b.integer(6000)])),
    ),
  },
  {
    name: "weights by the logarithm of a float mask",
    inputs: [hiddenStates, softMask],
    attend: plus((b) => b.op("Log", [b.op("Max", [ofKeys(b, "soft"), b.scalar(1e-9)])])),
  },
  {
    name: "keys of the token type 2 hidden",
    inputs: [hiddenStates, paddingMask, tokenTypes],
    attend: padded(
      plus((b) => {
        const beyond = b.op("Max", [b.op("Sub", [ofKeys(b, "types"), b.integer(1)]), b.integer(0)]);
        return b.op("Mul", [float(b, beyond), b.scalar(-1e9)]);
      }),
    ),
  },
  {
    name: "segments that a token begins",
    inputs: withIds,
    attend: padded(hideUnless((b) => sameOf(b, countOf(b, 102)))),
  },
  {
    name: "tokens of one range",
    inputs: withIds,
    attend: padded(hideUnless((b) => sameOf(b, b.op("Div", ["ids", b.integer(1000)])))),
  },
  {
    name: "one token of 250,000 hidden by a table",
    inputs: withIds,
    attend: padded(
      plus((b) => {
        const table = Float32Array.from({ length: 250_000 }, (_, id) => (id === 123_456 ? -20 : 0));
        return ofKeys(b, b.op("Gather", [b.floats("hides", [250_000], table), "ids"]));
      }),
    ),
  },
  {
    name: "a window over positions that begin at the first",
    inputs: [hiddenStates, paddingMask, positionIds],
    attend: padded(
      hideUnless((b) => {
        const from = b.op("Sub", ["positions", b.slice("positions", 1, 0, 1)]);
        const between = b.op("Sub", [ofQueries(b, from), ofKeys(b, from)]);
        return b.op("Less", [b.op("Abs", [between]), b.integer(500)]);
      }),
    ),
  },
  { name: "two biases joined at position 800", attend: plus((b) => joinedAt(b, 800)) },
  {
    name: "a table of queries and keys",
    attend: plus((b) => {
      const size = 201;
      const table = Float32Array.from({ length: size * size }, (_, i) =>
        Math.abs(Math.floor(i / size) - (i % size)) > 150 ? -1e9 : 0,
      );
      const at = b.op("Min", [b.positions(), b.integer(size - 1)]);
      const nothing = b.op("Mul", [b.distances(), b.integer(0)]);
      const [query, key] = [1, 0].map((axis) => b.unsqueeze(b.op("Add", [b.unsqueeze(at, [axis]), nothing]), [2]));
      return b.op("GatherND", [b.floats("table", [size, size], table), b.concat([query!, key!], 2)]);
    }),
  },
  {
    name: "probabilities of 1e-4 at least",
    attend: (b, s) => b.op("Max", [b.softmax(s), b.scalar(1e-4)]),
  },
  {
    name: "probabilities below 1e-6 set to zero",
    attend: (b, s) => {
      const p = b.softmax(s);
      return b.op("Where", [b.op("Less", [p, b.scalar(1e-6)]), b.scalar(0), p]);
    },
  },
  { name: "logits of 100 at most", attend: (b, s) => b.softmax(b.op("Min", [s, b.scalar(100)])) },
  { name: "a slope of 1e-6 per token", attend: plus((b) => b.op("Mul", [floatDistance(b), b.scalar(-1e-6)])) },
];

const refused = (attend: Normalise, options: LayerOptions): boolean[] =>
  inspectAttention(layerModel((b) => b.attend((s) => attend(b, s)), options)).sites.map(
    ({ verdict }) => verdict === "refuse",
  );

describe("attention that is another one on other inputs", () => {
  test.each([...cases, ...rareCases])("$name is refused", ({ attend, ...options }) => {
    expect(refused(attend, options)).toEqual([true]);
  });
});

const causal = (b: Layer): string => b.op("LessOrEqual", [b.distances(), b.integer(0)]);

describe("attention that is the same on all inputs", () => {
  test.each<Case>([
    { name: "without a mask", attend: softmax },
    { name: "with padding", attend: padded(softmax) },
    { name: "causal", attend: hideUnless(causal) },
    { name: "causal with padding", attend: padded(hideUnless(causal)) },
    {
      name: "a softmax written out",
      attend: padded((b, s) => {
        const e = b.op("Exp", [b.op("Sub", [s, b.op("ReduceMax", [s], { axes: { ints: [-1] } })])]);
        return b.op("Div", [e, b.op("ReduceSum", [e, b.integers([-1])])]);
      }),
    },
    { name: `scaled by 1 / sqrt(${dim})`, attend: padded(times((b) => b.scalar(1 / Math.sqrt(dim)))) },
  ])("$name is converted", ({ attend, ...options }) => {
    expect(refused(attend, options)).toEqual([false]);
  });
});

test("a default that may be fed otherwise is no constant", () => {
  let bound = "";
  const model = layerModel((b) =>
    b.attend((s) => {
      bound = b.integer(5000);
      return b.softmax(b.masked(b.op("Less", [distance(b), bound]), s));
    }),
  );
  model.graph.input.push(valueInfo(bound, DataType.INT64, []));
  const [site] = inspectAttention(model).sites;
  expect(site!.reasons.map(({ code, message }) => [code, message.includes(bound)])).toEqual([["mask-changes", true]]);
});
