import { DataType } from "@favor/onnx";
import {
  hidden,
  hiddenStates,
  layerModel,
  paddingMask,
  type Layer,
  type LayerOptions,
} from "@favor/test-support/layer";
import { describe, expect, test } from "vitest";
import type { Band } from "../../src/attention/band.ts";
import { inspectAttention } from "../../src/model-attention.ts";

interface Case extends LayerOptions {
  readonly name: string;
  readonly attend: (b: Layer, logits: string) => string;
}
interface Found extends Case {
  readonly band: Partial<Band>;
}

const distance = (b: Layer): string => b.op("Abs", [b.distances()]);
const floatDistance = (b: Layer): string => b.cast(distance(b), DataType.FLOAT);
const past = (b: Layer): string => b.op("Not", [b.op("Greater", [b.distances(), b.integer(0)])]);
const within = (b: Layer, size: number): string => b.op("LessOrEqual", [distance(b), b.integer(size)]);
const hideUnless =
  (keep: (b: Layer) => string): Case["attend"] =>
  (b, s) =>
    b.softmax(b.masked(keep(b), s));
const plus =
  (bias: (b: Layer) => string): Case["attend"] =>
  (b, s) =>
    b.softmax(b.op("Add", [s, bias(b)]));
const padded =
  (attend: Case["attend"]): Case["attend"] =>
  (b, s) =>
    attend(b, b.op("Add", [s, b.paddingBias()]));
const lone = { inputs: [hiddenStates] };
/** A part of a constant as long and wide as the input. */
const partOf = (b: Layer, table: string): string => {
  const size = b.dimension("x", 1);
  return b.op("Slice", [table, b.integers([0, 0]), b.concat([size, size], 0), b.integers([0, 1])]);
};
const table = (b: Layer, rows: number, columns: number, sees: (q: number, k: number) => boolean): string =>
  b.floats(
    "window",
    [rows, columns],
    Float32Array.from({ length: rows * columns }, (_, i) => (sees(Math.floor(i / columns), i % columns) ? 0 : -1e9)),
  );

const bands: readonly Found[] = [
  ...[3, 8, 16, 64, 128, 512, 4096].flatMap((size): Found[] => [
    {
      name: `a window of ${size} on both sides`,
      band: { before: size, after: size },
      ...lone,
      attend: hideUnless((b) => within(b, size)),
    },
    {
      name: `a causal window of ${size}`,
      band: { before: size, after: 0 },
      ...lone,
      attend: hideUnless((b) => b.op("And", [past(b), within(b, size)])),
    },
  ]),
  ...[64, 4096].map((size): Found => ({
    name: `a causal window of ${size} with padding`,
    band: { before: size, after: 0 },
    attend: padded(hideUnless((b) => b.op("And", [past(b), within(b, size)]))),
  })),
  ...[40.5, 700.25, 2000.5, 9000.5].map((bound): Found => ({
    name: `a window whose bound is the float ${bound}`,
    band: { before: Math.floor(bound), after: Math.floor(bound) },
    attend: padded(hideUnless((b) => b.op("Less", [floatDistance(b), b.scalar(bound)]))),
  })),
  {
    name: "a window by the sign of a rectified distance",
    band: { before: 300, after: 300 },
    attend: plus((b) => {
      const beyond = b.op("Sign", [b.op("Relu", [b.op("Sub", [floatDistance(b), b.scalar(300)])])]);
      return b.op("Mul", [beyond, b.scalar(-1e9)]);
    }),
  },
  {
    name: "a window by a table of distances",
    band: { before: 199, after: 199 },
    attend: plus((b) => {
      const bias = Float32Array.from({ length: 201 }, (_, at) => (at < 200 ? 0 : -1e9));
      return b.op("Gather", [b.floats("table", [201], bias), b.op("Min", [distance(b), b.integer(200)])]);
    }),
  },
  {
    name: "a window inside a long constant causal mask",
    band: { before: 99, after: 0 },
    ...lone,
    attend: plus((b) =>
      partOf(
        b,
        table(b, 300, 300, (q, k) => k <= q && k > q - 100),
      ),
    ),
  },
  {
    name: "a constant window longer than what is seen",
    band: { before: 50, after: 50 },
    ...lone,
    attend: plus((b) =>
      partOf(
        b,
        table(b, 4200, 4200, (q, k) => Math.abs(q - k) <= 50),
      ),
    ),
  },
  {
    name: "a constant window that is not square",
    band: { before: 40, after: 40 },
    ...lone,
    attend: plus((b) =>
      partOf(
        b,
        table(b, 96, 128, (q, k) => Math.abs(q - k) <= 40),
      ),
    ),
  },
  {
    name: "a window in a graph of fixed length",
    band: { before: 8, after: 8 },
    inputs: [{ ...hiddenStates, dims: [1, 32, hidden] }],
    attend: (b, s) =>
      b.softmax(
        b.op("Add", [
          s,
          b.reshape(
            table(b, 32, 32, (q, k) => Math.abs(q - k) <= 8),
            [1, 1, 32, 32],
          ),
        ]),
      ),
  },
  {
    name: "a causal window of 1,000 and the first 4 keys",
    band: { before: 1000, after: 0, firstKeys: 4 },
    attend: padded(
      hideUnless((b) => {
        const first = b.op("Less", [b.unsqueeze(b.positions(), [0]), b.integer(4)]);
        return b.op("And", [past(b), b.op("Or", [within(b, 1000), first])]);
      }),
    ),
  },
];

const length = (b: Layer): string => b.squeeze(b.dimension("x", 1), [0]);
const positionIds = { name: "positions", dataType: DataType.INT64, dims: ["batch", "length"] };
/** A window of 8, but of another width where a condition holds. */
const widerIf = (condition: (b: Layer) => string): Case["attend"] =>
  hideUnless((b) => {
    const size = b.op("Where", [condition(b), b.integer(12), b.integer(8)]);
    return b.op("LessOrEqual", [distance(b), size]);
  });
const query = (b: Layer): string => b.unsqueeze(b.positions(), [1]);

const others: readonly Case[] = [
  {
    name: "a quarter of the length",
    attend: hideUnless((b) => b.op("LessOrEqual", [distance(b), b.op("Div", [length(b), b.integer(4)])])),
  },
  { name: "wider beyond 1,000 tokens", attend: widerIf((b) => b.op("Greater", [length(b), b.integer(1000)])) },
  { name: "wider for one query", attend: widerIf((b) => b.op("Equal", [query(b), b.integer(1234)])) },
  {
    name: "wider for every 97th query",
    attend: widerIf((b) => b.op("Equal", [b.op("Mod", [query(b), b.integer(97)]), b.integer(13)])),
  },
  { name: "wider for late queries", attend: widerIf((b) => b.op("Greater", [query(b), b.integer(3000)])) },
  {
    name: "of each head's own width",
    attend: hideUnless((b) =>
      b.op("LessOrEqual", [b.unsqueeze(distance(b), [0, 1]), b.reshape(b.integers([8, 9]), [1, 2, 1, 1])]),
    ),
  },
  {
    name: "over positions that are fed",
    inputs: [hiddenStates, paddingMask, positionIds],
    attend: padded(
      hideUnless((b) => {
        const between = b.op("Sub", [b.unsqueeze("positions", [1, 3]), b.unsqueeze("positions", [1, 2])]);
        return b.op("LessOrEqual", [b.op("Abs", [between]), b.integer(4)]);
      }),
    ),
  },
  {
    name: "over positions that padding does not count",
    attend: padded(
      hideUnless((b) => {
        const at = b.op("CumSum", ["mask", b.integer(1)]);
        const between = b.op("Sub", [b.unsqueeze(at, [1, 3]), b.unsqueeze(at, [1, 2])]);
        return b.op("LessOrEqual", [b.op("Abs", [between]), b.integer(4)]);
      }),
    ),
  },
  {
    name: "with a slope inside",
    attend: plus((b) =>
      b.op("Where", [within(b, 8), b.op("Mul", [floatDistance(b), b.scalar(-0.01)]), b.scalar(-1e9)]),
    ),
  },
  {
    name: "of every second key",
    attend: hideUnless((b) =>
      b.op("And", [within(b, 8), b.op("Equal", [b.op("Mod", [b.distances(), b.integer(2)]), b.integer(0)])]),
    ),
  },
  {
    name: "and every 512th key",
    attend: hideUnless((b) =>
      b.op("Or", [
        within(b, 8),
        b.op("Equal", [b.op("Mod", [b.unsqueeze(b.positions(), [0]), b.integer(512)]), b.integer(511)]),
      ]),
    ),
  },
  {
    name: "and all keys beyond a distance of 2,000",
    attend: hideUnless((b) => b.op("Or", [within(b, 8), b.op("Greater", [distance(b), b.integer(2000)])])),
  },
  {
    name: "and the last key",
    attend: hideUnless((b) =>
      b.op("Or", [
        within(b, 8),
        b.op("Equal", [b.unsqueeze(b.positions(), [0]), b.op("Sub", [length(b), b.integer(1)])]),
      ]),
    ),
  },
];

describe("a window is proved", () => {
  test.each(bands)("$name", ({ attend, band, ...options }) => {
    const { sites } = inspectAttention(layerModel((b) => b.attend((s) => attend(b, s)), options));
    expect(sites.map(({ verdict, mask }) => [verdict, mask.band])).toEqual([
      ["convert", { firstKeys: 0, firstQueries: 0, ...band }],
    ]);
  });
});

describe("a window is refused", () => {
  test.each(others)("$name", ({ attend, ...options }) => {
    const { sites } = inspectAttention(layerModel((b) => b.attend((s) => attend(b, s)), options));
    expect(sites.map(({ verdict }) => verdict)).toEqual(["refuse"]);
  });
});
