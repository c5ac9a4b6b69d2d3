import { DataType } from "@favor/onnx";
import type { Layer } from "@favor/test-support/layer";
import {
  batch,
  bool,
  by,
  byWhole,
  type Disguise,
  float,
  hideUnless,
  input,
  ofKeys,
  ofQueries,
  padded,
  plus,
  reduced,
  softmax,
  times,
  wholeLength,
} from "./layers.ts";

const perItem = (b: Layer): string => b.op("Range", [b.integer(0), batch(b), b.integer(1)]);
const oneIf = (b: Layer, condition: string, otherwise: number): string =>
  b.op("Where", [condition, b.scalar(1), b.scalar(otherwise)]);
const causal = (b: Layer): string => byWhole(b, "LessOrEqual", b.distances(), 0);
const lowest = -3.4028234663852886e38;
const isReal = (b: Layer): string => bool(b, "mask");

/** Masks as exporters write them, which stay convertible. */
export const genuine: readonly Disguise[] = [
  { name: "no mask", attend: softmax },
  { name: "(1 - mask) * -1e9", attend: padded(softmax) },
  {
    name: "(1 - mask) * -1e4, and bounded from below",
    attend: (b, s) => b.softmax(by(b, "Max", b.op("Add", [s, b.paddingBias()]), lowest)),
  },
  {
    name: "(1 - mask) * -1e9, bounded before it is added",
    attend: (b, s) => b.softmax(b.op("Add", [s, by(b, "Max", b.paddingBias(), -1e4)])),
  },
  {
    name: "Where(mask == 0, lowest, 0)",
    attend: plus((b) => ofKeys(b, b.op("Where", [byWhole(b, "Equal", "mask", 0), b.scalar(lowest), b.scalar(0)]))),
  },
  { name: "a bool mask", attend: hideUnless((b) => ofKeys(b, isReal(b))) },
  {
    name: "a bool mask as input",
    inputs: [input("keep", DataType.BOOL, "batch", "length")],
    attend: hideUnless((b) => ofKeys(b, "keep")),
  },
  { name: "the logarithm of a bool mask", attend: plus((b) => ofKeys(b, b.op("Log", [float(b, isReal(b))]))) },
  {
    name: "a bool mask for queries and keys",
    attend: hideUnless((b) => b.op("And", [ofQueries(b, isReal(b)), ofKeys(b, isReal(b))])),
  },
  {
    name: "the outer product of the mask",
    attend: plus((b) => {
      const mask = float(b, "mask");
      const kept = b.op("Mul", [ofQueries(b, mask), ofKeys(b, mask)]);
      return by(b, "Mul", b.op("Sub", [b.scalar(1), kept]), -1e9);
    }),
  },
  {
    name: "tokens that are not padding",
    attend: hideUnless((b) => ofKeys(b, b.op("Not", [byWhole(b, "Equal", "ids", 0)]))),
  },
  { name: "tokens above zero", attend: hideUnless((b) => ofKeys(b, byWhole(b, "Greater", "ids", 0))) },
  {
    name: "lengths as input",
    inputs: [input("lengths", DataType.INT64, "batch")],
    attend: hideUnless((b) => b.unsqueeze(b.op("Less", [b.positions(), b.unsqueeze("lengths", [1])]), [1, 2])),
  },
  {
    name: "lengths counted from the mask",
    attend: hideUnless((b) =>
      b.unsqueeze(b.op("Less", [b.positions(), b.unsqueeze(reduced(b, "ReduceSum", "mask"), [1])]), [1, 2]),
    ),
  },
  {
    name: "lengths found from the end",
    attend: hideUnless((b) => {
      const missing = b.op("Sub", [wholeLength(b), b.unsqueeze(reduced(b, "ReduceSum", "mask"), [1])]);
      return b.unsqueeze(b.op("GreaterOrEqual", [b.positions(), missing]), [1, 2]);
    }),
  },
  {
    name: "keys from the first real one on",
    attend: hideUnless((b) => ofKeys(b, byWhole(b, "Greater", b.op("CumSum", ["mask", b.integer(1)]), 0))),
  },
  { name: "causal", attend: hideUnless(causal) },
  { name: "causal with padding", attend: padded(hideUnless(causal)) },
  {
    name: "causal and padding in one mask",
    attend: hideUnless((b) => b.op("And", [b.unsqueeze(causal(b), [0, 1]), ofKeys(b, isReal(b))])),
  },
  {
    name: "causal by a constant triangle",
    attend: plus((b) => {
      const values = Float32Array.from({ length: 128 * 128 }, (_, at) =>
        at % 128 > Math.floor(at / 128) ? lowest : 0,
      );
      const ends = b.concat([b.dimension("x", 1), b.dimension("x", 1)], 0);
      return b.op("Slice", [b.floats("causal", [128, 128], values), b.integers([0, 0]), ends, b.integers([0, 1])]);
    }),
  },
  {
    name: "causal by Trilu",
    attend: plus((b) => {
      const ends = b.concat([b.dimension("x", 1), b.dimension("x", 1)], 0);
      return b.op("Trilu", [b.op("Expand", [b.scalar(lowest), ends]), b.integer(1)]);
    }),
  },
  {
    name: "a scale of the second item",
    attend: times((b) => b.reshape(oneIf(b, byWhole(b, "Equal", perItem(b), 1), 0.7), [-1, 1, 1, 1])),
  },
  {
    name: "the padding of the item before",
    attend: (b, s) => {
      const rolled = b.concat([b.slice("mask", 0, -1, 2 ** 31), b.slice("mask", 0, 0, -1)], 0);
      return b.softmax(b.op("Add", [s, b.paddingBias(rolled)]));
    },
  },
  {
    name: "the padding mask from its end",
    attend: (b, s) => {
      const reversed = b.op("Slice", [
        "mask",
        b.integers([-1]),
        b.integers([-(2 ** 31)]),
        b.integers([1]),
        b.integers([-1]),
      ]);
      return b.softmax(b.op("Add", [s, b.paddingBias(reversed)]));
    },
  },
  {
    name: "the padding mask moved by one",
    attend: (b, s) => {
      const moved = b.concat([b.slice("mask", 1, 0, 1), b.slice("mask", 1, 0, -1)], 1);
      return b.softmax(b.op("Add", [s, b.paddingBias(moved)]));
    },
  },
  {
    name: "padding of the first 90 keys alone",
    attend: hideUnless((b) =>
      b.op("Or", [ofKeys(b, bool(b, "mask")), byWhole(b, "GreaterOrEqual", b.positions(), 90)]),
    ),
  },
  { name: "the mask's second bit", attend: padded(hideUnless((b) => ofKeys(b, byWhole(b, "Less", "mask", 2)))) },
];
