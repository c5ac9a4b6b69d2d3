import {
  by,
  byWhole,
  type Disguise,
  distance,
  float,
  floatDistance,
  hiding,
  hideUnless,
  padded,
  plus,
  positionsApart,
  table,
  whole,
  wholeLength,
  causal,
} from "./layers.ts";
import type { Layer } from "@favor/test-support/layer";

const beyond = (b: Layer, bound: number): string => b.op("Relu", [by(b, "Sub", floatDistance(b), bound)]);
const sameBlock = (of: (b: Layer, at: string) => string): Disguise["attend"] =>
  hideUnless((b) => b.op("Equal", positionsApart(b, of(b, b.positions()))));

/** Windows, blocks and biases of the distance, written so that no whole number in a comparison gives them away. */
export const windows: readonly Disguise[] = [
  {
    name: "a window by half the distance",
    attend: hideUnless((b) => by(b, "Less", by(b, "Mul", floatDistance(b), 0.5), 50.3)),
  },
  {
    name: "a window by the scaled distance",
    attend: hideUnless((b) => by(b, "Less", by(b, "Mul", floatDistance(b), 1 / 90), 1)),
  },
  {
    name: "a window by the squared distance",
    attend: hideUnless((b) => b.op("Less", [b.op("Mul", [floatDistance(b), floatDistance(b)]), b.scalar(8100)])),
  },
  {
    name: "a window by the root of the distance",
    attend: hideUnless((b) => by(b, "Less", b.op("Sqrt", [floatDistance(b)]), 9.5)),
  },
  {
    name: "a window by the logarithm of the distance",
    attend: hideUnless((b) => by(b, "Less", b.op("Log", [by(b, "Add", floatDistance(b), 1)]), 4.5)),
  },
  {
    name: "a window by the exponential of minus the distance",
    attend: hideUnless((b) => by(b, "Greater", b.op("Exp", [by(b, "Mul", floatDistance(b), -0.01)]), 0.4)),
  },
  {
    name: "a window by the reciprocal of the distance",
    attend: hideUnless((b) => by(b, "Greater", b.op("Reciprocal", [by(b, "Add", floatDistance(b), 1)]), 0.011)),
  },
  {
    name: "a window by the quotient of whole numbers",
    attend: hideUnless((b) => byWhole(b, "Equal", byWhole(b, "Div", distance(b), 90), 0)),
  },
  {
    name: "a window whose bound is computed",
    attend: hideUnless((b) => b.op("Less", [distance(b), b.op("Mul", [b.integer(9), b.integer(10)])])),
  },
  {
    name: "a window whose bound is a length",
    attend: hideUnless((b) => b.op("Less", [distance(b), byWhole(b, "Min", wholeLength(b), 90)])),
  },
  {
    name: "a window of half the length, 90 at least",
    attend: hideUnless((b) => b.op("Less", [distance(b), byWhole(b, "Max", byWhole(b, "Div", wholeLength(b), 2), 90)])),
  },
  {
    name: "a window by clipped distances",
    attend: plus((b) => hiding(b, b.op("Sub", [floatDistance(b), by(b, "Min", floatDistance(b), 90)]))),
  },
  {
    name: "a window by the ceiling of a quotient",
    attend: plus((b) =>
      hiding(b, by(b, "Max", by(b, "Sub", b.op("Ceil", [by(b, "Div", floatDistance(b), 90)]), 1), 0)),
    ),
  },
  { name: "a window by a rectified distance", attend: plus((b) => hiding(b, beyond(b, 90))) },
  { name: "a window by a rectified distance of a mild slope", attend: plus((b) => by(b, "Mul", beyond(b, 90), -1)) },
  {
    name: "a window by a clipped and rounded distance",
    attend: plus((b) =>
      hiding(b, b.op("Floor", [b.op("Clip", [by(b, "Mul", floatDistance(b), 1 / 90), b.scalar(0), b.scalar(1)])])),
    ),
  },
  {
    name: "a window by a steep sigmoid",
    attend: plus((b) => hiding(b, b.op("Sigmoid", [by(b, "Mul", by(b, "Sub", floatDistance(b), 90), 40)]))),
  },
  {
    name: "a window by the difference of two triangles",
    attend: hideUnless((b) => {
      const ones = b.op("Expand", [b.scalar(1), b.concat([b.dimension("x", 1), b.dimension("x", 1)], 0)]);
      const lower = b.op("Trilu", [ones, b.integer(90)], { upper: { int: 0 } });
      const below = b.op("Trilu", [ones, b.integer(-90)], { upper: { int: 0 } });
      return by(b, "Greater", b.op("Sub", [lower, below]), 0.5);
    }),
  },
  {
    name: "a window by a padded vector",
    attend: hideUnless((b) => {
      const kept = b.op("Expand", [b.scalar(1), b.op("Min", [b.dimension("x", 1), b.integers([90])])]);
      const missing = b.op("Sub", [b.dimension("x", 1), b.op("Min", [b.dimension("x", 1), b.integers([90])])]);
      const row = b.op("Pad", [kept, b.concat([b.integers([0]), missing], 0)]);
      return by(b, "Greater", b.op("Gather", [row, distance(b)]), 0.5);
    }),
  },
  {
    name: "a causal window by a vector of bounds for each head",
    attend: hideUnless((b) => {
      const near = b.op("Greater", [
        b.unsqueeze(b.distances(), [0, 1]),
        b.reshape(b.integers([-90, -5000]), [1, 2, 1, 1]),
      ]);
      return b.op("And", [b.unsqueeze(causal(b), [0, 1]), near]);
    }),
  },
  {
    name: "a causal window by a float",
    attend: hideUnless((b) => b.op("And", [causal(b), by(b, "Less", floatDistance(b), 70.5)])),
  },
  {
    name: "a causal mask that looks 70 keys ahead later on",
    attend: hideUnless((b) => {
      const [query, key] = positionsApart(b, b.positions());
      return b.op("LessOrEqual", [key, b.op("Add", [query, byWhole(b, "Mul", byWhole(b, "Div", query, 70), 3)])]);
    }),
  },
  {
    name: "causal for the first 80 queries alone",
    attend: hideUnless((b) => {
      const [query] = positionsApart(b, b.positions());
      return b.op("Or", [causal(b), byWhole(b, "GreaterOrEqual", query, 80)]);
    }),
  },
  {
    name: "causal from query 80 on",
    attend: hideUnless((b) => {
      const [query] = positionsApart(b, b.positions());
      return b.op("Or", [causal(b), byWhole(b, "Less", query, 80)]);
    }),
  },
  {
    name: "a prefix of 90 keys for all later queries",
    attend: hideUnless((b) => {
      const [query, key] = positionsApart(b, b.positions());
      return b.op("Or", [byWhole(b, "Less", query, 90), byWhole(b, "Less", key, 90)]);
    }),
  },
  {
    name: "every second key beyond a distance of 60",
    attend: hideUnless((b) => {
      const even = byWhole(b, "Equal", byWhole(b, "Mod", distance(b), 2), 0);
      return b.op("Or", [byWhole(b, "Less", distance(b), 60), even]);
    }),
  },
  {
    name: "blocks by rounding down",
    attend: sameBlock((b, at) => b.op("Floor", [by(b, "Mul", float(b, at), 1 / 64)])),
  },
  { name: "blocks by rounding", attend: sameBlock((b, at) => b.op("Round", [by(b, "Mul", float(b, at), 1 / 200)])) },
  { name: "blocks by a cast of a product", attend: sameBlock((b, at) => whole(b, by(b, "Mul", float(b, at), 0.0101))) },
  {
    name: "blocks by a table of positions",
    attend: sameBlock((b, at) =>
      b.op("Gather", [table(b, 601, (i) => Math.floor(i / 75)), byWhole(b, "Min", at, 600)]),
    ),
  },
  { name: "blocks by a comparison of positions", attend: sameBlock((b, at) => byWhole(b, "Less", at, 77)) },
  {
    name: "blocks by remainders of a long period",
    attend: sameBlock((b, at) => b.op("Sub", [at, byWhole(b, "Mod", at, 111)])),
  },
  {
    name: "two halves of a long input",
    attend: sameBlock((b, at) =>
      b.op("And", [
        b.op("Less", [byWhole(b, "Mul", at, 2), wholeLength(b)]),
        byWhole(b, "Greater", wholeLength(b), 80),
      ]),
    ),
  },
  ...[2e-5, 5e-5, 3e-4].map((slope) => ({
    name: `a slope of ${slope}`,
    attend: plus((b: Layer) => by(b, "Mul", floatDistance(b), -slope)),
  })),
  {
    name: "a slope of its own for each head",
    attend: plus((b) =>
      b.op("Mul", [b.unsqueeze(floatDistance(b), [0, 1]), b.floats("slopes", [1, 2, 1, 1], [0, -1e-4])]),
    ),
  },
  { name: "a slope with padding", attend: padded(plus((b) => by(b, "Mul", floatDistance(b), -5e-5))) },
  { name: "a slope by the position of the key", attend: plus((b) => by(b, "Mul", float(b, b.positions()), 5e-5)) },
  {
    name: "a bias that rises with the logarithm of the distance",
    attend: plus((b) => by(b, "Mul", b.op("Log", [by(b, "Add", by(b, "Mul", floatDistance(b), 1e-3), 1)]), -0.3)),
  },
  { name: "a cosine of the distance", attend: plus((b) => b.op("Cos", [by(b, "Mul", floatDistance(b), 2e-3)])) },
  {
    name: "a bias beyond a distance of 300",
    attend: plus((b) => by(b, "Mul", float(b, by(b, "Greater", floatDistance(b), 300)), 0.1)),
  },
  {
    name: "a bias by a table that ends in another number",
    attend: plus((b) =>
      b.op("Gather", [table(b, 101, (i) => (i < 100 ? 0 : 0.2)), byWhole(b, "Min", distance(b), 100)]),
    ),
  },
];
