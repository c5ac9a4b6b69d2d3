import { DataType } from "@favor/onnx";
import type { Layer } from "@favor/test-support/layer";
import {
  batch,
  bool,
  by,
  byWhole,
  type Disguise,
  distance,
  float,
  floatDistance,
  hideUnless,
  length,
  ofKeys,
  padded,
  plus,
  table,
  afterwards,
  times,
  wholeLength,
} from "./layers.ts";

const floatBatch = (b: Layer): string => float(b, batch(b));
const oneIf = (b: Layer, condition: string, otherwise: number): string =>
  b.op("Where", [condition, b.scalar(1), b.scalar(otherwise)]);
const perItem = (b: Layer): string => b.op("Range", [b.integer(0), batch(b), b.integer(1)]);
const square = (b: Layer): string => b.concat([b.dimension("x", 1), b.dimension("x", 1)], 0);

/** Scales and masks that follow the length or the batch. */
const lengths: readonly Disguise[] = [
  {
    name: "a scale by the logarithm of the length, 1 up to 700",
    attend: padded(times((b) => by(b, "Max", by(b, "Mul", b.op("Log", [length(b)]), 1 / Math.log(700)), 1))),
  },
  {
    name: "a scale by the root of the length beyond 200",
    attend: times((b) => b.op("Sqrt", [by(b, "Max", by(b, "Mul", length(b), 1 / 200), 1)])),
  },
  {
    name: "a scale by the power of the length",
    attend: times((b) => b.op("Pow", [by(b, "Max", by(b, "Mul", length(b), 1 / 300), 1), b.scalar(0.25)])),
  },
  {
    name: "a scale by whole hundreds of tokens",
    attend: times((b) => by(b, "Add", by(b, "Mul", float(b, byWhole(b, "Div", wholeLength(b), 100)), 0.05), 1)),
  },
  {
    name: "a scale by a table of lengths",
    attend: times((b) =>
      b.op("Gather", [table(b, 513, (i) => (i < 300 ? 1 : 1.2)), byWhole(b, "Min", wholeLength(b), 512)]),
    ),
  },
  {
    name: "a scale by the length's last bit",
    attend: times((b) => by(b, "Add", by(b, "Mul", float(b, byWhole(b, "Mod", wholeLength(b), 2)), 0.1), 1)),
  },
  {
    name: "a scale by multiples of three",
    attend: times((b) => oneIf(b, byWhole(b, "Equal", byWhole(b, "Mod", wholeLength(b), 3), 0), 0.7)),
  },
  {
    name: "a scale by multiples of 64",
    attend: times((b) => oneIf(b, byWhole(b, "Greater", byWhole(b, "Mod", wholeLength(b), 64), 0), 0.7)),
  },
  {
    name: "a scale by whether the length is a power of two",
    attend: times((b) => {
      const log = b.op("Div", [b.op("Log", [length(b)]), b.scalar(Math.LN2)]);
      return oneIf(b, by(b, "Greater", b.op("Abs", [b.op("Sub", [log, b.op("Round", [log])])]), 1e-4), 0.7);
    }),
  },
  { name: "a scale of batches of two", attend: times((b) => oneIf(b, byWhole(b, "Equal", batch(b), 2), 0.7)) },
  {
    name: "a scale of even batches",
    attend: times((b) => oneIf(b, byWhole(b, "Equal", byWhole(b, "Mod", batch(b), 2), 1), 0.7)),
  },
  {
    name: "a scale of a batch times its length",
    attend: times((b) => by(b, "Max", by(b, "Mul", b.op("Mul", [floatBatch(b), length(b)]), 1e-3), 1)),
  },
  {
    name: "a scale by the elements of the ids",
    attend: times((b) => by(b, "Max", by(b, "Mul", float(b, b.op("Size", ["ids"])), 1e-3), 1)),
  },
  {
    name: "a scale of each query",
    attend: times((b) =>
      b.unsqueeze(
        by(b, "Add", by(b, "Mul", b.op("Floor", [by(b, "Mul", float(b, b.positions()), 1 / 200)]), 0.1), 1),
        [1],
      ),
    ),
  },
  {
    name: "a scale of each query by the logarithm",
    attend: times((b) =>
      b.unsqueeze(
        b.op("Div", [b.op("Log", [by(b, "Max", float(b, b.positions()), 128)]), b.scalar(Math.log(128))]),
        [1],
      ),
    ),
  },
  {
    name: "a scale of each key",
    attend: times((b) =>
      by(b, "Add", by(b, "Mul", b.op("Floor", [by(b, "Mul", float(b, b.positions()), 1 / 200)]), 0.1), 1),
    ),
  },
  {
    name: "a causal mask for the third item",
    attend: hideUnless((b) => {
      const third = b.reshape(byWhole(b, "Equal", perItem(b), 2), [-1, 1, 1, 1]);
      return b.op("Or", [b.op("Not", [third]), byWhole(b, "LessOrEqual", b.distances(), 0)]);
    }),
  },
  {
    name: "the padding of the first item for all",
    attend: (b, s) => b.softmax(b.op("Add", [s, b.paddingBias(b.slice("mask", 0, 0, 1))])),
  },
  {
    name: "padding that any item has",
    attend: (b, s) => b.softmax(b.op("Add", [s, b.paddingBias(b.op("ReduceMin", ["mask"], { axes: { ints: [0] } }))])),
  },
  {
    name: "padding laid over the heads, expanded",
    attend: (b, s) =>
      b.softmax(
        b.op("Add", [s, b.op("Expand", [b.transpose(b.paddingBias(), [1, 0, 2, 3]), b.integers([1, 2, 1, 1])])]),
      ),
  },
  {
    name: "padding of the first head alone",
    attend: (b, s) =>
      b.softmax(b.op("Add", [s, b.op("Mul", [b.paddingBias(), b.floats("heads", [1, 2, 1, 1], [1, 0])])])),
  },
  {
    name: "padding of the first 90 queries alone",
    attend: (b, s) => {
      const early = float(b, b.unsqueeze(byWhole(b, "Less", b.positions(), 90), [1]));
      return b.softmax(b.op("Add", [s, b.op("Mul", [b.paddingBias(), early])]));
    },
  },
  {
    name: "padding at -50",
    attend: (b, s) => {
      const hidden = b.op("Sub", [b.scalar(1), ofKeys(b, float(b, "mask"))]);
      return b.softmax(b.op("Add", [s, by(b, "Mul", hidden, -50)]));
    },
  },
  {
    name: "padding that is weaker for each of many keys",
    attend: (b, s) => {
      const hidden = b.op("Sub", [b.scalar(1), ofKeys(b, float(b, "mask"))]);
      const weaker = b.op("Div", [b.scalar(-2e4), by(b, "Max", length(b), 40)]);
      return b.softmax(b.op("Add", [s, b.op("Mul", [hidden, weaker])]));
    },
  },
];

/** Constants of their own shape, and what is joined or padded. */
const constants: readonly Disguise[] = [
  {
    name: "a wide constant mask",
    attend: plus((b) => {
      const values = Float32Array.from({ length: 64 * 512 }, (_, at) =>
        Math.abs(Math.floor(at / 512) - (at % 512)) > 45 ? -1e9 : 0,
      );
      return b.op("Slice", [
        b.floats("window", [1, 1, 64, 512], values),
        b.integers([0, 0]),
        square(b),
        b.integers([2, 3]),
      ]);
    }),
  },
  {
    name: "a tall constant mask",
    attend: plus((b) => {
      const values = Float32Array.from({ length: 512 * 80 }, (_, at) =>
        Math.floor(at / 80) - (at % 80) > 50 ? -1e9 : 0,
      );
      return b.op("Slice", [b.floats("window", [512, 80], values), b.integers([0, 0]), square(b), b.integers([0, 1])]);
    }),
  },
  {
    name: "a constant mask for each head",
    attend: plus((b) => {
      const values = Float32Array.from({ length: 2 * 128 * 128 }, (_, at) =>
        at > 128 * 128 && Math.abs(Math.floor((at % 16_384) / 128) - (at % 128)) > 60 ? -1e9 : 0,
      );
      return b.op("Slice", [
        b.floats("window", [1, 2, 128, 128], values),
        b.integers([0, 0]),
        square(b),
        b.integers([2, 3]),
      ]);
    }),
  },
  {
    name: "a constant causal mask with a hole",
    attend: plus((b) => {
      const values = Float32Array.from({ length: 128 * 128 }, (_, at) =>
        at % 128 > Math.floor(at / 128) || (Math.floor(at / 128) === 101 && at % 128 === 99) ? -1e9 : 0,
      );
      return b.op("Slice", [b.floats("causal", [128, 128], values), b.integers([0, 0]), square(b), b.integers([0, 1])]);
    }),
  },
  {
    name: "a constant row of keys, one of them hidden",
    attend: plus((b) =>
      b.op("Slice", [
        b.floats(
          "keys",
          [600],
          Float32Array.from({ length: 600 }, (_, i) => (i === 333 ? -1e9 : 0)),
        ),
        b.integers([0]),
        b.dimension("x", 1),
      ]),
    ),
  },
  {
    name: "a constant column of scales",
    attend: times((b) =>
      b.op("Slice", [
        b.floats(
          "scales",
          [600, 1],
          Float32Array.from({ length: 600 }, (_, i) => (i < 400 ? 1 : 0.8)),
        ),
        b.integers([0]),
        b.dimension("x", 1),
      ]),
    ),
  },
  {
    name: "a constant bool mask in bytes",
    attend: hideUnless((b) => {
      const values = Float32Array.from({ length: 256 * 256 }, (_, at) =>
        Number(Math.abs(Math.floor(at / 256) - (at % 256)) < 100),
      );
      const bytes = b.cast(b.floats("window", [256, 256], values), DataType.UINT8);
      return bool(b, b.op("Slice", [bytes, b.integers([0, 0]), square(b), b.integers([0, 1])]));
    }),
  },
  {
    name: "padding to a multiple of 64, and blocks",
    attend: hideUnless((b) => {
      const at = byWhole(b, "Div", b.positions(), 64);
      const even = byWhole(b, "Equal", byWhole(b, "Mod", wholeLength(b), 64), 0);
      return b.op("Or", [b.op("Not", [even]), b.op("Equal", [b.unsqueeze(at, [1]), at])]);
    }),
  },
];

/** What is done to probabilities, or to logits by themselves. */
const probabilities: readonly Disguise[] = [
  {
    name: "probabilities below 2e-4 set to zero",
    attend: afterwards((b, p) => b.op("Where", [by(b, "Less", p, 2e-4), b.scalar(0), p])),
  },
  {
    name: "probabilities below 1e-3 set to zero by a product",
    attend: padded(afterwards((b, p) => b.op("Mul", [p, float(b, by(b, "Greater", p, 1e-3))]))),
  },
  { name: "probabilities less 1e-4, rectified", attend: afterwards((b, p) => b.op("Relu", [by(b, "Sub", p, 1e-4)])) },
  {
    name: "probabilities rounded to steps of 1e-4",
    attend: afterwards((b, p) => by(b, "Mul", b.op("Round", [by(b, "Mul", p, 1e4)]), 1e-4)),
  },
  { name: "probabilities plus 1e-6", attend: afterwards((b, p) => by(b, "Add", p, 1e-6)) },
  {
    name: "probabilities mixed with equal ones",
    attend: afterwards((b, p) => b.op("Add", [by(b, "Mul", p, 0.9998), b.op("Div", [b.scalar(2e-4), length(b)])])),
  },
  { name: "probabilities of 0.9 at most", attend: afterwards((b, p) => by(b, "Min", p, 0.9)) },
  { name: "probabilities to the power of 1.001", attend: afterwards((b, p) => b.op("Pow", [p, b.scalar(1.001)])) },
  {
    name: "a sum of exponentials plus 1e-3",
    attend: (b, s) => {
      const e = b.op("Exp", [b.op("Sub", [s, b.reduceMax(s, -1)])]);
      return b.op("Div", [e, by(b, "Add", b.reduceSum(e, -1), 1e-3)]);
    },
  },
  {
    name: "a sum of exponentials plus one",
    attend: (b, s) => {
      const e = b.op("Exp", [s]);
      return b.op("Div", [e, by(b, "Add", b.reduceSum(e, -1), 1)]);
    },
  },
  { name: "logits of -20 at least", attend: (b, s) => b.softmax(by(b, "Max", s, -20)) },
  {
    name: "logits rounded to steps of 1/16",
    attend: (b, s) => b.softmax(by(b, "Mul", b.op("Round", [by(b, "Mul", s, 16)]), 1 / 16)),
  },
  {
    name: "logits beyond 60 halved",
    attend: (b, s) => b.softmax(b.op("Sub", [s, by(b, "Mul", b.op("Relu", [by(b, "Sub", s, 60)]), 0.5)])),
  },
  {
    name: "logits 30 below the largest dropped",
    attend: (b, s) => {
      const far = b.op("Less", [s, by(b, "Sub", b.reduceMax(s, -1), 6)]);
      return b.softmax(b.op("Where", [far, b.scalar(-1e9), s]));
    },
  },
  {
    name: "logits plus a slope of themselves",
    attend: (b, s) => b.softmax(b.op("Add", [s, by(b, "Mul", b.op("Abs", [s]), 0.05)])),
  },
  {
    name: "one probability dropped for each 500 keys",
    attend: afterwards((b, p) =>
      b.op("Where", [byWhole(b, "Equal", byWhole(b, "Mod", b.positions(), 500), 499), b.scalar(0), p]),
    ),
  },
  {
    name: "a window at 777 tokens alone",
    attend: hideUnless((b) =>
      b.op("Or", [b.op("Not", [byWhole(b, "Equal", wholeLength(b), 777)]), byWhole(b, "Less", distance(b), 9)]),
    ),
  },
  {
    name: "the diagonal hidden beyond 100 tokens",
    attend: hideUnless((b) =>
      b.op("Or", [byWhole(b, "Greater", distance(b), 0), byWhole(b, "Less", wholeLength(b), 100)]),
    ),
  },
  {
    name: "the probabilities of far keys doubled",
    attend: afterwards((b, p) => b.op("Mul", [p, by(b, "Add", float(b, by(b, "Greater", floatDistance(b), 150)), 1)])),
  },
];

export const sizesThatMatter: readonly Disguise[] = [...lengths, ...constants];
export const probabilitiesThatMatter: readonly Disguise[] = probabilities;
