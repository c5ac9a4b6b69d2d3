import { DataType } from "@favor/onnx";
import type { Bench } from "./bench.ts";
import type { Mutation } from "./mutation.ts";

type Make = (bench: Bench, mask: string) => string;

/** The input that says which positions are padding. */
function maskInput(b: Bench): string | undefined {
  return b.graph.input.map(({ name }) => name).find((name) => /mask/.test(name) && b.dims(name).length === 2);
}

/**
 * Makes a mask of numbers from the mask as float32, and gives it the mask's type again. The first key stays: rows that
 * attend to nothing may be anything.
 */
const asFloat =
  (make: Make): Make =>
  (b, mask) => {
    const { dims, dataType } = b.shape(mask)!;
    const isFirst = b.op("Cast", [b.op("Less", [positions(b, mask), b.float(0.5)])], { to: DataType.FLOAT });
    const made = b.op("Max", [make(b, b.cast(mask, DataType.FLOAT)), isFirst]);
    return b.learn(b.op("Cast", [made], { to: dataType }), { dims, dataType });
  };

/** Whether a token is as `compare` says, as 0 and 1; the mask itself if the model takes no tokens. */
const ofTokens =
  (compare: (b: Bench, ids: string) => string): Make =>
  (b, mask) => {
    const ids = b.graph.input.map(({ name }) => name).find((name) => /input_ids|tokens/.test(name));
    return ids === undefined ? mask : b.op("Cast", [compare(b, b.cast(ids, DataType.FLOAT))], { to: DataType.FLOAT });
  };

/** 0, 1, 2, ... as float32 [length]. */
function positions(b: Bench, mask: string): string {
  const count = b.op("Gather", [b.op("Shape", [mask]), b.constant(DataType.INT64, [], [1])]);
  const range = b.op("Range", [b.constant(DataType.INT64, [], [0]), count, b.constant(DataType.INT64, [], [1])]);
  return b.op("Cast", [range], { to: DataType.FLOAT });
}

const slice = (b: Bench, value: string, from: number, to: number, axis: number, step: number = 1): string =>
  b.op("Slice", [value, b.integers(from), b.integers(to), b.integers(axis), b.integers(step)]);

const makers: readonly (readonly [string, Make])[] = [
  ["the other way round", asFloat((b, m) => b.op("Sub", [b.float(1), m]))],
  ["of another item", asFloat((b, m) => slice(b, m, -1, -2147483647, 0, -1))],
  ["from the end", asFloat((b, m) => slice(b, m, -1, -2147483647, 1, -1))],
  [
    "moved by one",
    asFloat((b, m) => b.op("Concat", [slice(b, m, 1, 2147483647, 1), slice(b, m, 0, 1, 1)], { axis: 1 })),
  ],
  ["all ones", asFloat((b, m) => b.op("Max", [m, b.float(1)]))],
  [
    "and the first eight",
    asFloat((b, m) => b.op("Mul", [m, b.op("Cast", [b.op("Less", [positions(b, m), b.float(8)])], { to: 1 })])),
  ],
  [
    "and the first thirty",
    asFloat((b, m) => b.op("Mul", [m, b.op("Cast", [b.op("Less", [positions(b, m), b.float(30)])], { to: 1 })])),
  ],
  [
    "or the first three",
    asFloat((b, m) => b.op("Max", [m, b.op("Cast", [b.op("Less", [positions(b, m), b.float(3)])], { to: 1 })])),
  ],
  [
    "and tokens below 30",
    asFloat((b, m) => b.op("Mul", [m, ofTokens((c, ids) => c.op("Less", [ids, c.float(30)]))(b, m)])),
  ],
  [
    "and not token 17",
    asFloat((b, m) => b.op("Mul", [m, ofTokens((c, ids) => c.op("Not", [c.op("Equal", [ids, c.float(17)])]))(b, m)])),
  ],
  ["halved", asFloat((b, m) => b.op("Mul", [m, b.float(0.5)]))],
  ["doubled", asFloat((b, m) => b.op("Mul", [m, b.float(2)]))],
  ["counted up", asFloat((b, m) => b.op("CumSum", [m, b.constant(DataType.INT64, [], [1])]))],
  [
    "the first five of it",
    asFloat((b, m) =>
      b.op("Mul", [
        m,
        b.op("Cast", [b.op("Less", [b.op("CumSum", [m, b.constant(DataType.INT64, [], [1])]), b.float(5.5)])], {
          to: 1,
        }),
      ]),
    ),
  ],
];

/** Masks that say something else. */
export const maskings: readonly Mutation[] = makers.map(([name, make]) => ({
  name: `mask: ${name}`,
  apply: (bench: Bench): boolean => {
    const mask = maskInput(bench);
    if (mask === undefined || bench.consumers(mask).length === 0) return false;
    bench.insertAfter(mask, (value) => make(bench, value));
    return true;
  },
}));

/** Values [..., 1, keys] that are added to logits or choose among them: the mask as it meets them. */
function masksAt(b: Bench): string[] {
  return b.values.filter((value) => {
    const dims = b.dims(value);
    return dims.length === 4 && dims[1] === 1 && dims[2] === 1 && dims[3]! > 1 && b.consumers(value).length > 0;
  });
}

const broadcasts: readonly (readonly [string, number, Make])[] = [
  ["of queries", 4, (b, m) => b.op("Transpose", [m], { perm: [0, 1, 3, 2] })],
  ["of the first item", 4, (b, m) => slice(b, m, 0, 1, 0)],
  ["of the first key", 4, (b, m) => slice(b, m, 0, 1, 3)],
];

/** The mask spread over another axis than the keys'. */
export const broadcastings: readonly Mutation[] = broadcasts.map(([name, , make]) => ({
  name: `mask: ${name}`,
  apply: (bench: Bench): boolean => {
    const value = bench.choices.of(masksAt(bench));
    if (value === undefined) return false;
    bench.insertAfter(value, (from) => make(bench, from));
    return true;
  },
}));
