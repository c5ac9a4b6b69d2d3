import type { Layer } from "@favor/test-support/layer";
import {
  bool,
  by,
  byWhole,
  float,
  hiding,
  hideUnless,
  ofItems,
  ofKeys,
  ofQueries,
  padded,
  plus,
  positionIds,
  reduced,
  same,
  table,
  types,
  whole,
  onLogits,
  type Disguise,
} from "./layers.ts";

const withTypes = { inputs: [types] };
const withPositions = { inputs: [positionIds] };
const between = (b: Layer, value: string): string => b.op("Sub", [ofQueries(b, value), ofKeys(b, value)]);

/** Whole numbers: segments, types of tokens, positions, and the mask itself beyond zero and one. */
export const fedNumbers: readonly Disguise[] = [
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
    attend: onLogits((b) => {
      const mask = float(b, "mask");
      return by(b, "Mul", b.op("Mul", [mask, by(b, "Sub", mask, 1)]), 0.7);
    }),
  },
  {
    name: "the mask to the power of three, less itself",
    attend: onLogits((b) => b.op("Sub", [b.op("Pow", [float(b, "mask"), b.scalar(3)]), float(b, "mask")])),
  },
  {
    name: "the root of the mask",
    attend: onLogits((b) => b.op("Sub", [b.op("Sqrt", [float(b, "mask")]), by(b, "Min", float(b, "mask"), 1)])),
  },
  {
    name: "the mask as an exponent",
    attend: onLogits((b) => b.op("Floor", [by(b, "Mul", b.op("Exp", [float(b, "mask")]), 0.3)])),
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
    attend: onLogits((b) => b.op("Gather", [table(b, 6, (i) => [0, 0, 0, 0.5, 0, 0][i]!), "types"])),
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
