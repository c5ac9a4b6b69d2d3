import { DataType } from "@favor/onnx";
import type { Layer } from "@favor/test-support/layer";
import {
  bool,
  by,
  byWhole,
  type Disguise,
  distance,
  float,
  floatDistance,
  hiding,
  hideUnless,
  input,
  length,
  ofItems,
  ofKeys,
  ofQueries,
  padded,
  plus,
  positionIds,
  reduced,
  same,
  table,
  afterwards,
  times,
  types,
  whole,
} from "./layers.ts";

const causal = (b: Layer): string => byWhole(b, "LessOrEqual", b.distances(), 0);
/** Causal where a condition on a whole sequence, [batch] or [], holds. */
const causalIf = (condition: (b: Layer) => string): Disguise["attend"] =>
  padded(hideUnless((b) => b.op("Or", [b.op("Not", [ofItems(b, condition(b))]), b.unsqueeze(causal(b), [0, 1])])));
const mean = (b: Layer): string => reduced(b, "ReduceMean", float(b, "ids"));
const isToken = (b: Layer, id: number): string => byWhole(b, "Equal", "ids", id);
const countOf = (b: Layer, id: number): string => b.op("CumSum", [whole(b, isToken(b, id)), b.integer(1)]);
const first = (b: Layer, value: string): string => b.squeeze(b.slice(value, 1, 0, 1), [1]);
const last = (b: Layer, value: string): string => b.squeeze(b.slice(value, 1, -1, 2 ** 31), [1]);
const logit = (of: (b: Layer) => string): Disguise["attend"] => padded(plus((b) => ofKeys(b, of(b))));
const withTypes = { inputs: [types] };
const withPositions = { inputs: [positionIds] };
const between = (b: Layer, value: string): string => b.op("Sub", [ofQueries(b, value), ofKeys(b, value)]);

/** Whole numbers: segments, types of tokens, positions, and the mask itself beyond zero and one. */
const numbers: readonly Disguise[] = [
  {
    name: "the logarithm of the mask",
    attend: plus((b) => ofKeys(b, b.op("Log", [by(b, "Max", float(b, "mask"), 1e-9)]))),
  },
  {
    name: "the logarithm of the mask, which is minus infinity at padding",
    attend: plus((b) => ofKeys(b, b.op("Log", [float(b, "mask")]))),
  },
  {
    name: "the square of the mask less itself",
    attend: logit((b) => {
      const mask = float(b, "mask");
      return by(b, "Mul", b.op("Mul", [mask, by(b, "Sub", mask, 1)]), 0.7);
    }),
  },
  {
    name: "the mask to the power of three, less itself",
    attend: logit((b) => b.op("Sub", [b.op("Pow", [float(b, "mask"), b.scalar(3)]), float(b, "mask")])),
  },
  {
    name: "the root of the mask",
    attend: logit((b) => b.op("Sub", [b.op("Sqrt", [float(b, "mask")]), by(b, "Min", float(b, "mask"), 1)])),
  },
  {
    name: "the mask as an exponent",
    attend: logit((b) => b.op("Floor", [by(b, "Mul", b.op("Exp", [float(b, "mask")]), 0.3)])),
  },
  { name: "segments of the mask, equal", attend: hideUnless((b) => same(b, "mask")) },
  {
    name: "segments of the mask, by their difference",
    attend: padded(plus((b) => hiding(b, float(b, b.op("Abs", [between(b, "mask")]))))),
  },
  {
    name: "segments of the mask, by their products",
    attend: hideUnless((b) => {
      const mask = float(b, "mask");
      const product = b.op("Mul", [ofQueries(b, mask), ofKeys(b, mask)]);
      return b.op("And", [bool(b, product), b.op("Equal", [product, ofKeys(b, b.op("Mul", [mask, mask]))])]);
    }),
  },
  {
    name: "segments of the mask seen from later ones",
    attend: padded(hideUnless((b) => b.op("GreaterOrEqual", [ofQueries(b, "mask"), ofKeys(b, "mask")]))),
  },
  {
    name: "the mask's odd numbers",
    attend: hideUnless((b) => ofKeys(b, byWhole(b, "Equal", byWhole(b, "Mod", "mask", 2), 1))),
  },
  {
    name: "more segments than one",
    attend: padded(
      hideUnless((b) => {
        const many = byWhole(b, "Greater", reduced(b, "ReduceMax", "mask"), 1);
        return b.op("Or", [b.op("Not", [ofItems(b, many)]), same(b, "mask")]);
      }),
    ),
  },
  {
    name: "types of tokens beyond one, clipped",
    ...withTypes,
    attend: padded(
      plus((b) =>
        hiding(b, ofKeys(b, float(b, b.op("Clip", [byWhole(b, "Sub", "types", 1), b.integer(0), b.integer(1)])))),
      ),
    ),
  },
  {
    name: "types of tokens beyond three",
    ...withTypes,
    attend: padded(hideUnless((b) => ofKeys(b, byWhole(b, "Less", "types", 4)))),
  },
  {
    name: "types of tokens, halved",
    ...withTypes,
    attend: padded(hideUnless((b) => same(b, byWhole(b, "Div", "types", 2)))),
  },
  {
    name: "types of tokens, by the sign of a difference",
    ...withTypes,
    attend: padded(plus((b) => hiding(b, b.op("Relu", [float(b, byWhole(b, "Sub", between(b, "types"), 1))])))),
  },
  {
    name: "types of tokens, by a table",
    ...withTypes,
    attend: logit((b) => b.op("Gather", [table(b, 6, (i) => [0, 0, 0, 0.5, 0, 0][i]!), "types"])),
  },
  {
    name: "types of tokens, by a table of pairs",
    ...withTypes,
    attend: padded(
      plus((b) => {
        const pair = b.op("Add", [byWhole(b, "Mul", ofQueries(b, "types"), 4), ofKeys(b, "types")]);
        return b.op("Gather", [table(b, 16, (i) => (i === 14 ? -5 : 0)), byWhole(b, "Min", pair, 15)]);
      }),
    ),
  },
  {
    name: "a window over positions that are fed, scaled",
    ...withPositions,
    attend: padded(
      hideUnless((b) => by(b, "Less", by(b, "Mul", float(b, b.op("Abs", [between(b, "positions")])), 0.01), 1)),
    ),
  },
  {
    name: "causal by positions that are fed",
    ...withPositions,
    attend: padded(hideUnless((b) => byWhole(b, "GreaterOrEqual", between(b, "positions"), 0))),
  },
  {
    name: "segments at which positions begin again",
    ...withPositions,
    attend: padded(
      hideUnless((b) => same(b, b.op("CumSum", [whole(b, byWhole(b, "Equal", "positions", 0)), b.integer(1)]))),
    ),
  },
  {
    name: "a chunk of positions that are fed",
    ...withPositions,
    attend: padded(hideUnless((b) => same(b, byWhole(b, "Div", "positions", 64)))),
  },
  {
    name: "a bias by positions that are fed",
    ...withPositions,
    attend: padded(plus((b) => by(b, "Mul", float(b, b.op("Abs", [between(b, "positions")])), -1e-3))),
  },
  {
    name: "a window over counted real tokens",
    attend: padded(
      hideUnless((b) => byWhole(b, "Less", b.op("Abs", [between(b, b.op("CumSum", ["mask", b.integer(1)]))]), 90)),
    ),
  },
];

/** Token ids: tables, arithmetic, counts, and conditions on a whole sequence. */
const tokens: readonly Disguise[] = [
  {
    name: "a threshold on the sum of ids",
    attend: padded(
      hideUnless((b) =>
        b.op("Or", [
          ofItems(b, byWhole(b, "Less", reduced(b, "ReduceSum", "ids"), 50_000)),
          b.unsqueeze(causal(b), [0, 1]),
        ]),
      ),
    ),
  },
  { name: "causal where the mean token is large", attend: causalIf((b) => by(b, "Greater", mean(b), 45)) },
  { name: "causal where the mean token is small", attend: causalIf((b) => by(b, "Less", mean(b), 10.5)) },
  {
    name: "causal where the largest token is below 20",
    attend: causalIf((b) => byWhole(b, "Less", reduced(b, "ReduceMax", "ids"), 20)),
  },
  {
    name: "causal where the smallest token is above 5",
    attend: causalIf((b) => byWhole(b, "Greater", reduced(b, "ReduceMin", "ids"), 5)),
  },
  { name: "causal where the first token is 9", attend: causalIf((b) => byWhole(b, "Equal", first(b, "ids"), 9)) },
  { name: "causal where the last token is 9", attend: causalIf((b) => byWhole(b, "Equal", last(b, "ids"), 9)) },
  {
    name: "causal where first and last tokens are equal",
    attend: causalIf((b) => b.op("Equal", [first(b, "ids"), last(b, "ids")])),
  },
  {
    name: "causal where a token stands four times",
    attend: causalIf((b) => byWhole(b, "Greater", reduced(b, "ReduceSum", whole(b, isToken(b, 9))), 3)),
  },
  {
    name: "causal where the sum of ids is a multiple of 97",
    attend: causalIf((b) => byWhole(b, "Equal", byWhole(b, "Mod", reduced(b, "ReduceSum", "ids"), 97), 0)),
  },
  {
    name: "causal where few tokens count",
    attend: causalIf((b) => byWhole(b, "Less", reduced(b, "ReduceSum", "mask"), 4)),
  },
  {
    name: "causal where more than 3,000 tokens count",
    attend: causalIf((b) => byWhole(b, "Greater", reduced(b, "ReduceSum", "mask"), 3000)),
  },
  {
    name: "causal where the mean of the mask is a half",
    attend: causalIf((b) => by(b, "Equal", reduced(b, "ReduceMean", float(b, "mask")), 0.5)),
  },
  {
    name: "a scale by the number of tokens that count",
    attend: padded(
      times((b) => {
        const count = reduced(b, "ReduceSum", float(b, "mask"));
        return ofItems(b, b.op("Div", [b.op("Log", [by(b, "Max", count, 512)]), b.scalar(Math.log(512))]));
      }),
    ),
  },
  {
    name: "a scale by the first token",
    attend: padded(
      times((b) => ofItems(b, b.op("Where", [byWhole(b, "Equal", first(b, "ids"), 7), b.scalar(2), b.scalar(1)]))),
    ),
  },
  {
    name: "a window from the place of a token on",
    attend: padded(
      hideUnless((b) => {
        const at = b.op("ArgMax", [whole(b, isToken(b, 9))], { axis: { int: 1 }, keepdims: { int: 0 } });
        return b.op("Or", [
          b.op("GreaterOrEqual", [b.positions(), ofItems(b, at)]),
          byWhole(b, "Less", distance(b), 9),
        ]);
      }),
    ),
  },
  { name: "odd tokens weighed less", attend: logit((b) => by(b, "Mul", float(b, byWhole(b, "Mod", "ids", 2)), -0.5)) },
  {
    name: "tokens by their third bit",
    attend: logit((b) => by(b, "Mul", float(b, byWhole(b, "Mod", byWhole(b, "Div", "ids", 4), 2)), -0.5)),
  },
  {
    name: "one token weighed by a product",
    attend: logit((b) => {
      const apart = float(b, byWhole(b, "Sub", "ids", 35));
      return by(b, "Mul", b.op("Reciprocal", [by(b, "Add", b.op("Mul", [apart, apart]), 1)]), 2);
    }),
  },
  {
    name: "one token hidden by a power",
    attend: logit((b) =>
      hiding(
        b,
        b.op("Floor", [b.op("Exp", [by(b, "Mul", float(b, b.op("Abs", [byWhole(b, "Sub", "ids", 35)])), -30)])]),
      ),
    ),
  },
  {
    name: "a range of tokens hidden from others",
    attend: padded(hideUnless((b) => same(b, byWhole(b, "Greater", "ids", 50)))),
  },
  { name: "tokens of equal remainders", attend: padded(hideUnless((b) => same(b, byWhole(b, "Mod", "ids", 5)))) },
  {
    name: "tokens that repeat the one before",
    attend: padded(
      hideUnless((b) => {
        const before = b.concat([b.slice("ids", 1, 0, 1), b.slice("ids", 1, 0, -1)], 1);
        const repeats = b.op("And", [b.op("Equal", ["ids", before]), byWhole(b, "Greater", b.positions(), 0)]);
        return b.op("Or", [b.op("Not", [ofKeys(b, repeats)]), byWhole(b, "Equal", distance(b), 0)]);
      }),
    ),
  },
  {
    name: "segments that either of two tokens begins",
    attend: padded(hideUnless((b) => same(b, b.op("Add", [countOf(b, 35), countOf(b, 36)])))),
  },
  {
    name: "keys after the second separator hidden from those before",
    attend: padded(
      hideUnless((b) => {
        const late = byWhole(b, "GreaterOrEqual", countOf(b, 9), 2);
        return b.op("Or", [ofQueries(b, late), b.op("Not", [ofKeys(b, late)])]);
      }),
    ),
  },
  {
    name: "a table of tokens that multiplies logits",
    attend: padded(times((b) => ofKeys(b, b.op("Gather", [table(b, 64, (id) => (id === 41 ? 0.5 : 1)), "ids"])))),
  },
  {
    name: "a table of tokens that multiplies probabilities",
    attend: padded(
      afterwards((b, p) =>
        b.op("Mul", [p, ofKeys(b, b.op("Gather", [table(b, 64, (id) => (id === 41 ? 0.5 : 1)), "ids"]))]),
      ),
    ),
  },
  {
    name: "a mild bias of one of 30,000 tokens",
    vocabulary: 30_000,
    attend: logit((b) => b.op("Gather", [table(b, 30_000, (id) => (id === 12_345 ? 0.3 : 0)), "ids"])),
  },
  {
    name: "one of 30,000 tokens hidden by a comparison",
    vocabulary: 30_000,
    attend: padded(
      hideUnless((b) =>
        b.op("Or", [b.op("Not", [ofKeys(b, isToken(b, 12_345))]), byWhole(b, "Equal", distance(b), 0)]),
      ),
    ),
  },
];

const perHead = input("head_mask", DataType.FLOAT, 2);
const scalar = input("temperature", DataType.FLOAT);
const ofItem = input("gate", DataType.FLOAT, "batch");
const ofKey = input("soft", DataType.FLOAT, "batch", "length");
const switched = input("switch", DataType.BOOL);

/** Floats, and single numbers. */
const floats: readonly Disguise[] = [
  {
    name: "a head mask of each item",
    inputs: [input("head_mask", DataType.FLOAT, "batch", 2)],
    attend: padded(afterwards((b, p) => b.op("Mul", [p, b.unsqueeze("head_mask", [2, 3])]))),
  },
  {
    name: "a head mask on the logits",
    inputs: [perHead],
    attend: padded(times((b) => b.reshape("head_mask", [1, 2, 1, 1]))),
  },
  {
    name: "a head mask added as a logarithm",
    inputs: [perHead],
    attend: padded((b, s) =>
      b.op("Exp", [b.op("Add", [b.op("LogSoftmax", [s]), b.reshape(b.op("Log", ["head_mask"]), [1, 2, 1, 1])])]),
    ),
  },
  {
    name: "a head mask that is rounded",
    inputs: [perHead],
    attend: padded(afterwards((b, p) => b.op("Mul", [p, b.reshape(b.op("Ceil", ["head_mask"]), [1, 2, 1, 1])]))),
  },
  { name: "a temperature that multiplies", inputs: [scalar], attend: padded(times(() => "temperature")) },
  {
    name: "a temperature that is at least one",
    inputs: [scalar],
    attend: padded(times((b) => by(b, "Max", "temperature", 1))),
  },
  {
    name: "a temperature that is a power",
    inputs: [scalar],
    attend: padded(times((b) => b.op("Pow", [b.scalar(2), by(b, "Sub", "temperature", 1)]))),
  },
  { name: "a temperature of each item", inputs: [ofItem], attend: padded(times((b) => ofItems(b, "gate"))) },
  {
    name: "a temperature as a whole number",
    inputs: [input("temperature", DataType.INT64)],
    attend: padded((b, s) => b.softmax(b.op("Div", [s, float(b, byWhole(b, "Max", "temperature", 1))]))),
  },
  {
    name: "a temperature beyond three",
    inputs: [scalar],
    attend: padded(times((b) => by(b, "Max", by(b, "Div", "temperature", 3), 1))),
  },
  {
    name: "a switch to causal order",
    inputs: [switched],
    attend: padded(hideUnless((b) => b.op("Or", [b.op("Not", ["switch"]), causal(b)]))),
  },
  {
    name: "a window whose bound is fed",
    inputs: [input("bound", DataType.INT64)],
    attend: padded(hideUnless((b) => b.op("LessOrEqual", [distance(b), "bound"]))),
  },
  {
    name: "a slope that is fed",
    inputs: [scalar],
    attend: padded(plus((b) => b.op("Mul", [floatDistance(b), by(b, "Mul", "temperature", -1e-4)]))),
  },
  { name: "weights of keys that are fed", inputs: [ofKey], attend: padded(times((b) => ofKeys(b, "soft"))) },
  {
    name: "weights of keys that are fed, after the softmax",
    inputs: [ofKey],
    attend: padded(afterwards((b, p) => b.op("Mul", [p, ofKeys(b, "soft")]))),
  },
  {
    name: "keys hidden by a threshold on a float",
    inputs: [ofKey],
    attend: padded(plus((b) => ofKeys(b, b.op("Relu", [by(b, "Mul", by(b, "Sub", "soft", 1), -3)])))),
  },
  {
    name: "keys beyond a float of two weighed otherwise",
    inputs: [ofKey],
    attend: padded(plus((b) => ofKeys(b, by(b, "Max", by(b, "Sub", "soft", 2), 0)))),
  },
  { name: "keys of equal floats", inputs: [ofKey], attend: padded(hideUnless((b) => same(b, "soft"))) },
  {
    name: "a bias that is fed for each query and key",
    inputs: [input("bias", DataType.FLOAT, "batch", 1, "length", "length")],
    attend: padded(plus(() => "bias")),
  },
  {
    name: "a gate on logits by the length that is fed",
    inputs: [ofItem],
    attend: padded((b, s) =>
      b.softmax(b.op("Mul", [s, ofItems(b, b.op("Div", [length(b), b.op("Max", ["gate", length(b)])]))])),
    ),
  },
];

export const inputsThatMatter: readonly Disguise[] = [...numbers, ...tokens, ...floats];
