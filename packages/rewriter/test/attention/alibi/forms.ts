import { DataType } from "@favor/onnx";
import { heads, type Layer } from "@favor/test-support/layer";
import {
  causal,
  type Disguise,
  float,
  floatDistance,
  hideUnless,
  type Normalise,
  padded,
  plus,
} from "../disguises/layers.ts";

/** Slopes of the heads, as a constant [heads, 1, 1]. */
const slopes: readonly number[] = [0.25, 0.0625];
const slopeTable = (b: Layer, of: readonly number[] = slopes): string => b.floats("slopes", [heads, 1, 1], of);

/** -m |i - j|, [heads, length, length]. */
const fromDistances = (b: Layer): string => b.op("Neg", [b.op("Mul", [slopeTable(b), floatDistance(b)])]);

/** m times a number of each key, [heads, 1, length]. */
const ofKeyPositions = (b: Layer, of: string): string => b.op("Mul", [slopeTable(b), float(b, of)]);

const lengthOf = (b: Layer): string => b.squeeze(b.dimension("x", 1), [0]);
/** 1 - L, ..., 0. */
const fromTheEnd = (b: Layer): string =>
  b.op("Range", [b.op("Sub", [b.integer(1), lengthOf(b)]), b.integer(1), b.integer(1)]);

/** A table of `size` positions for queries and keys, cut to the length: [1, heads, length, length]. */
function distanceTable(b: Layer, size: number, of: (distance: number) => number = (d) => d): string {
  const values = new Float32Array(heads * size * size);
  for (let at = 0; at < values.length; at++) {
    const [query, key] = [Math.floor(at / size) % size, at % size];
    values[at] = -slopes[Math.floor(at / size ** 2)]! * of(Math.abs(query - key));
  }
  const ends = b.concat([b.dimension("x", 1), b.dimension("x", 1)], 0);
  return b.op("Slice", [
    b.floats("alibi", [1, heads, size, size], values),
    b.integers([0, 0]),
    ends,
    b.integers([2, 3]),
  ]);
}

/** Positions among the keys that count, 0 for the others, as BLOOM computes them: [batch, 1, 1, length]. */
const countedPositions = (b: Layer): string => {
  const counted = b.op("Sub", [b.op("CumSum", ["mask", b.integer(1)]), b.integer(1)]);
  return float(b, b.unsqueeze(b.op("Mul", [counted, "mask"]), [1, 2]));
};

const inOrder = (normalise: (b: Layer) => string): Normalise =>
  padded((b, s) => hideUnless(causal)(b, b.op("Add", [s, normalise(b)])));

export interface AlibiForm extends Disguise {
  readonly mask: {
    readonly kind: string;
    readonly alibi: { readonly slopes: readonly number[]; readonly positions: string };
  };
}

const form = (name: string, kind: string, attend: Normalise, positions = "all", own = slopes): AlibiForm => ({
  name,
  attend,
  mask: { kind, alibi: { slopes: own, positions } },
});

/** ALiBi as exporters write it. */
export const forms: readonly AlibiForm[] = [
  form("distances", "none", plus(fromDistances)),
  form("distances, with padding", "padding", padded(plus(fromDistances))),
  form("distances, added before the padding mask", "padding", (b, s) =>
    padded((_, logits) => b.softmax(logits))(b, b.op("Add", [s, fromDistances(b)])),
  ),
  form("distances in causal order", "causal", (b, s) => hideUnless(causal)(b, b.op("Add", [s, fromDistances(b)]))),
  form("a table of distances (jina, DNABERT-2)", "padding", padded(plus((b) => distanceTable(b, 128)))),
  form(
    "key positions from the end (MPT)",
    "padding and causal",
    inOrder((b) => ofKeyPositions(b, fromTheEnd(b))),
  ),
  form(
    "key positions",
    "padding and causal",
    inOrder((b) => ofKeyPositions(b, b.positions())),
  ),
  form(
    "positions that count (BLOOM)",
    "padding and causal",
    inOrder((b) => b.op("Mul", [slopeTable(b), countedPositions(b)])),
    "kept",
  ),
  form(
    "slopes as powers of two",
    "causal",
    (b, s) => {
      const powers = b.op("Pow", [
        b.scalar(0.25),
        b.op("Add", [b.unsqueeze(b.cast(b.range(b.integers([heads])), DataType.FLOAT), [1, 2]), b.scalar(1)]),
      ]);
      return hideUnless(causal)(b, b.op("Sub", [s, b.op("Mul", [powers, floatDistance(b)])]));
    },
    "all",
    [0.25, 0.0625],
  ),
  form(
    "one slope for all heads",
    "padding",
    padded(plus((b) => b.op("Mul", [floatDistance(b), b.scalar(-0.1)]))),
    "all",
    [Math.fround(0.1), Math.fround(0.1)],
  ),
  form(
    "a slope on one head only",
    "padding",
    padded(plus((b) => b.op("Mul", [slopeTable(b, [-0.5, 0]), floatDistance(b)]))),
    "all",
    [0.5, 0],
  ),
];

const ofDistance = (of: (b: Layer, distance: string) => string): Normalise =>
  padded(plus((b) => b.op("Neg", [b.op("Mul", [slopeTable(b), of(b, floatDistance(b))])])));
const number = (b: Layer, opType: string, value: string, other: number): string =>
  b.op(opType, [value, b.scalar(other)]);
const floatLength = (b: Layer): string => float(b, lengthOf(b));

/** Biases that are ALiBi nearly, or on short inputs. */
export const lookalikes: readonly Disguise[] = [
  { name: "a power of the distance, 1.01", attend: ofDistance((b, d) => number(b, "Pow", d, 1.01)) },
  { name: "a power of the distance, 0.999", attend: ofDistance((b, d) => number(b, "Pow", d, 0.999)) },
  { name: "the root of the distance", attend: ofDistance((b, d) => b.op("Sqrt", [d])) },
  { name: "the logarithm of the distance", attend: ofDistance((b, d) => b.op("Log", [number(b, "Add", d, 1)])) },
  { name: "the square of the distance", attend: ofDistance((b, d) => b.op("Mul", [d, d])) },
  { name: "a distance cut off at 1,024", attend: ofDistance((b, d) => number(b, "Min", d, 1024)) },
  { name: "a distance cut off at 40", attend: ofDistance((b, d) => number(b, "Min", d, 40)) },
  {
    name: "a distance that counts twice beyond 100",
    attend: ofDistance((b, d) => b.op("Add", [d, b.op("Relu", [number(b, "Sub", d, 100)])])),
  },
  { name: "blocks of four positions", attend: ofDistance((b, d) => b.op("Floor", [number(b, "Div", d, 4)])) },
  {
    name: "a slope that falls with the length",
    attend: ofDistance((b, d) => b.op("Div", [number(b, "Mul", d, 13), floatLength(b)])),
  },
  {
    name: "a slope that halves beyond 500 tokens",
    attend: ofDistance((b, d) =>
      b.op("Mul", [d, b.op("Where", [number(b, "Greater", floatLength(b), 500), b.scalar(0.5), b.scalar(1)])]),
    ),
  },
  {
    name: "a slope of its own for each item of the batch",
    attend: padded(
      plus((b) => {
        const item = float(b, b.op("Range", [b.integer(0), b.squeeze(b.dimension("x", 0), [0]), b.integer(1)]));
        const slope = number(b, "Mul", number(b, "Add", b.unsqueeze(item, [1, 2, 3]), 1), -0.1);
        return b.op("Mul", [slope, floatDistance(b)]);
      }),
    ),
  },
  {
    name: "a slope by the size of the batch",
    attend: ofDistance((b, d) => b.op("Mul", [d, float(b, b.squeeze(b.dimension("x", 0), [0]))])),
  },
  {
    name: "a slope by the number of real tokens",
    attend: padded(
      plus((b) => {
        const real = float(b, b.op("ReduceSum", ["mask", b.integers([1])], { keepdims: { int: 1 } }));
        return b.op("Mul", [number(b, "Mul", b.unsqueeze(real, [2, 3]), -0.01), floatDistance(b)]);
      }),
    ),
  },
  {
    name: "a table with a kink at 60",
    attend: padded(plus((b) => distanceTable(b, 128, (d) => Math.min(d, 60)))),
  },
  {
    name: "a table with one entry of its own",
    attend: padded(plus((b) => distanceTable(b, 128, (d) => (d === 101 ? 90 : d)))),
  },
  {
    name: "a bias that grows with the distance",
    attend: padded(plus((b) => b.op("Mul", [slopeTable(b), floatDistance(b)]))),
  },
  {
    name: "key positions without causal order",
    attend: padded(plus((b) => ofKeyPositions(b, b.positions()))),
  },
  {
    name: "a bias that falls to one side only",
    attend: padded(plus((b) => b.op("Neg", [b.op("Mul", [slopeTable(b), b.op("Relu", [float(b, b.distances())])])]))),
  },
  {
    name: "a window besides",
    attend: padded((b, s) =>
      hideUnless((c) => c.op("Less", [c.op("Abs", [c.distances()]), c.integer(70)]))(
        b,
        b.op("Add", [s, fromDistances(b)]),
      ),
    ),
  },
  {
    name: "distances of fed positions",
    inputs: [{ name: "positions", dataType: DataType.INT64, dims: ["batch", "length"] }],
    attend: padded(
      plus((b) => {
        const apart = b.op("Sub", [b.unsqueeze("positions", [1, 3]), b.unsqueeze("positions", [1, 2])]);
        return b.op("Mul", [float(b, b.op("Abs", [apart])), b.scalar(-0.1)]);
      }),
    ),
  },
];
