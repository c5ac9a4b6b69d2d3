import { DataType } from "@favor/onnx";
import { valueInfo } from "@favor/test-support/small-model";
import type { Attributes, Bench } from "./bench.ts";
import { positions } from "./insertions.ts";
import type { Mutation } from "./mutation.ts";
import type { Site } from "./sites.ts";

/** The value with what hides at the sizes and inputs of short tests; undefined where the model cannot have it. */
type Make = (bench: Bench, value: string) => string | undefined;

/** Inputs that a mutation adds, which {@link drawTrials} feeds by these names. */
export const addedInputs = {
  headMask: "added_head_mask",
  temperature: "added_temperature",
  segments: "added_segments",
  positions: "added_positions",
} as const;

const hidden = -1e9;
const rankOf = (b: Bench, v: string): number => b.dims(v).length;
const float = (b: Bench, value: string): string => b.op("Cast", [value], { to: DataType.FLOAT });
const by = (b: Bench, opType: string, value: string, number: number, attributes: Attributes = {}): string =>
  b.op(opType, [value, b.float(number)], attributes);
const queries = (b: Bench, v: string): string => positions(b, v, rankOf(b, v) - 2);
const keys = (b: Bench, v: string): string => positions(b, v, rankOf(b, v) - 1);
const apart = (b: Bench, v: string): string => b.op("Abs", [b.op("Sub", [keys(b, v), queries(b, v)])]);
const size = (b: Bench, v: string, axis: number): string =>
  float(b, b.op("Gather", [b.op("Shape", [v]), b.constant(DataType.INT64, [], [axis])]));
const length = (b: Bench, v: string): string => size(b, v, rankOf(b, v) - 1);

const kept = (b: Bench, keep: string, v: string): string => b.op("Where", [keep, v, b.float(hidden)], {}, v);
const plus = (b: Bench, v: string, bias: string): string => b.op("Add", [v, bias], {}, v);
const times = (b: Bench, v: string, factor: string): string => b.op("Mul", [v, factor], {}, v);
const equal = (b: Bench, x: string, y: string): string => by(b, "Less", b.op("Abs", [b.op("Sub", [x, y])]), 0.5);

const window =
  (bound: number): Make =>
  (b, v) =>
    kept(b, by(b, "Less", apart(b, v), bound), v);

/** Only keys of the query's own block, whose number `of` makes of a position. */
const blocks =
  (of: (b: Bench, at: string) => string): Make =>
  (b, v) =>
    kept(b, equal(b, of(b, queries(b, v)), of(b, keys(b, v))), v);

/** The whole-number input of two axes that has the most values. */
function tokens(b: Bench): string | undefined {
  const names = b.graph.input.map(({ name }) => name);
  return names.find((name) => /ids|tokens/.test(name) && b.dims(name).length === 2 && b.shape(name)!.dataType !== 1);
}

/** [batch, length] as [batch, 1, 1, length] or [batch, 1, length, 1], for logits of four axes. */
const ofKeys = (b: Bench, value: string): string => b.unsqueeze(value, [1, 2]);
const ofQueries = (b: Bench, value: string): string => b.unsqueeze(value, [1, 3]);

const byTokens =
  (make: (b: Bench, v: string, ids: string) => string): Make =>
  (b, v) => {
    const ids = tokens(b);
    return ids === undefined || rankOf(b, v) !== 4 ? undefined : make(b, v, ids);
  };

/** A new input of the graph. */
function input(b: Bench, name: string, dataType: number, dims: readonly number[], like?: string): string {
  if (b.graph.input.some((other) => other.name === name)) return name;
  const from = b.graph.input.find((other) => other.name === like);
  const open = from?.type?.tensorType?.shape?.dim.slice(0, 2).map(({ dimParam, dimValue }, axis) => {
    return dimValue?.toNumber() || dimParam || `added_${axis}`;
  });
  b.graph.input.push(valueInfo(name, dataType, open ?? dims));
  return b.learn(name, { dims: from ? b.dims(from.name).slice(0, 2) : dims, dataType });
}

/** The input whose first axes are the batch and the length. */
const batched = (b: Bench): string | undefined =>
  tokens(b) ?? b.graph.input.map(({ name }) => name).find((name) => b.dims(name).length === 3);

const byPositions =
  (name: string, keep: (b: Bench, query: string, key: string) => string): Make =>
  (b, v) => {
    const like = batched(b);
    if (like === undefined || rankOf(b, v) !== 4) return undefined;
    const value = float(b, input(b, name, DataType.INT64, [], like));
    return kept(b, keep(b, ofQueries(b, value), ofKeys(b, value)), v);
  };

const table = (b: Bench, count: number, of: (i: number) => number): string =>
  b.constant(
    DataType.FLOAT,
    [count],
    Array.from({ length: count }, (_, i) => of(i)),
  );

const onLogits: readonly (readonly [string, Make])[] = [
  ...[25.5, 40.25, 128.5, 333.3].map((bound) => [`a window of ${bound}`, window(bound)] as const),
  [
    "a window of its own for each head",
    (b, v) => {
      const heads = b.dims(v).at(-3) ?? 1;
      const bounds = Array.from({ length: heads }, (_, i) => 40 * 2 ** i);
      return kept(b, b.op("Less", [apart(b, v), b.constant(DataType.FLOAT, [heads, 1, 1], bounds)]), v);
    },
  ],
  [
    "a window by the sign of a rectified distance",
    (b, v) => plus(b, v, by(b, "Mul", b.op("Sign", [b.op("Relu", [by(b, "Sub", apart(b, v), 60)])]), hidden)),
  ],
  [
    "a window by a table",
    (b, v) => {
      const at = b.op("Cast", [by(b, "Min", apart(b, v), 200)], { to: DataType.INT64 });
      return plus(b, v, b.op("Gather", [table(b, 201, (i) => (i < 200 ? 0 : hidden)), at]));
    },
  ],
  ["blocks by a product", blocks((b, at) => b.op("Floor", [by(b, "Mul", at, 1 / 70)]))],
  ["blocks by the remainder", blocks((b, at) => b.op("Sub", [at, by(b, "Mod", at, 90, { fmod: 1 })]))],
  [
    "blocks by a shift of bits",
    blocks((b, at) => {
      const whole = b.op("Cast", [b.op("Cast", [at], { to: DataType.INT64 })], { to: DataType.UINT64 });
      const six = b.op("Cast", [b.constant(DataType.INT64, [], [6])], { to: DataType.UINT64 });
      return float(b, b.op("BitShift", [whole, six], { direction: "RIGHT" }));
    }),
  ],
  [
    "a window by two triangles",
    (b, v) => {
      const shape = b.op("Shape", [v]);
      const ones = b.op("Expand", [b.float(1), shape]);
      const upper = b.op("Trilu", [ones, b.constant(DataType.INT64, [], [-80])], { upper: 1 });
      return kept(b, by(b, "Greater", upper, 0.5), v);
    },
  ],
  [
    "a constant window that is not square",
    (b, v) => {
      const values = Array.from({ length: 610 * 640 }, (_, at) =>
        Math.abs(Math.floor(at / 640) - (at % 640)) > 70 ? hidden : 0,
      );
      const ends = b.op("Slice", [b.op("Shape", [v]), b.integers(-2), b.constant(DataType.INT64, [1], [2 ** 31])]);
      const constant = b.constant(DataType.FLOAT, [610, 640], values);
      return plus(b, v, b.op("Slice", [constant, b.integers(0, 0), ends, b.integers(0, 1)]));
    },
  ],
  ...[3e-4, 1e-3].map(
    (slope) => [`a slope of ${slope}`, (b: Bench, v: string) => plus(b, v, by(b, "Mul", apart(b, v), -slope))] as const,
  ),
  [
    "a wide Gaussian",
    (b, v) => {
      const share = by(b, "Mul", apart(b, v), 1 / 300);
      return plus(b, v, by(b, "Mul", b.op("Mul", [share, share]), -0.5));
    },
  ],
  ...[64, 300, 512].map(
    (bound) =>
      [
        `times log(length) beyond ${bound}`,
        (b: Bench, v: string) =>
          times(b, v, by(b, "Div", b.op("Log", [by(b, "Max", length(b, v), bound)]), Math.log(bound))),
      ] as const,
  ),
  [
    "times the root of the length beyond 100",
    (b, v) => times(b, v, b.op("Sqrt", [by(b, "Max", by(b, "Mul", length(b, v), 0.01), 1)])),
  ],
  [
    "a temperature that rises every 150 queries",
    (b, v) => {
      const steps = b.op("Floor", [by(b, "Mul", queries(b, v), 1 / 150)]);
      return times(b, v, by(b, "Add", by(b, "Mul", b.op("Log", [by(b, "Add", steps, 1)]), 0.3), 1));
    },
  ],
  [
    "a scale by whether the length is even",
    (b, v) => times(b, v, by(b, "Add", by(b, "Mul", by(b, "Mod", length(b, v), 2, { fmod: 1 }), 0.3), 1)),
  ],
  [
    "a scale by whether the length is a multiple of 8",
    (b, v) => {
      const rest = by(b, "Min", by(b, "Mod", length(b, v), 8, { fmod: 1 }), 1);
      return times(b, v, by(b, "Add", by(b, "Mul", rest, 0.3), 1));
    },
  ],
  ["a scale by the batch", (b, v) => times(b, v, by(b, "Max", by(b, "Mul", size(b, v, 0), 0.4), 1))],
  ["an input that multiplies logits", (b, v) => times(b, v, input(b, addedInputs.temperature, DataType.FLOAT, [1]))],
  [
    "packed segments",
    byPositions(addedInputs.segments, (b, q, k) => b.op("And", [equal(b, q, k), by(b, "Greater", k, 0.5)])),
  ],
  [
    "a window over positions that are fed",
    byPositions(addedInputs.positions, (b, q, k) => by(b, "Less", b.op("Abs", [b.op("Sub", [q, k])]), 60)),
  ],
  [
    "a bias of a table of tokens",
    byTokens((b, v, ids) =>
      plus(b, v, ofKeys(b, b.op("Gather", [table(b, 70_000, (id) => (id % 12 === 5 ? -4 : 0)), ids]))),
    ),
  ],
  [
    "keys of odd tokens hidden",
    byTokens((b, v, ids) => {
      const odd = by(b, "Mul", by(b, "Mod", float(b, ids), 2, { fmod: 1 }), -30);
      return plus(b, v, ofKeys(b, odd));
    }),
  ],
  [
    "a bias between equal tokens",
    byTokens((b, v, ids) => {
      const value = float(b, ids);
      return plus(b, v, float(b, equal(b, ofQueries(b, value), ofKeys(b, value))));
    }),
  ],
  [
    "segments that a token begins",
    byTokens((b, v, ids) => {
      const found = float(b, by(b, "Less", b.op("Abs", [by(b, "Sub", float(b, ids), 3)]), 0.5));
      const segment = b.op("CumSum", [found, b.constant(DataType.INT64, [], [1])]);
      return kept(b, equal(b, ofQueries(b, segment), ofKeys(b, segment)), v);
    }),
  ],
  [
    "one query sees nothing before it",
    (b, v) => {
      const isIt = float(b, equal(b, queries(b, v), b.float(77)));
      const before = float(b, b.op("Less", [keys(b, v), queries(b, v)]));
      return plus(b, v, by(b, "Mul", b.op("Mul", [isIt, before]), hidden));
    },
  ],
  [
    "one key is hidden from the others",
    (b, v) => {
      const isIt = float(b, equal(b, keys(b, v), b.float(77)));
      const other = float(b, by(b, "Greater", apart(b, v), 0.5));
      return plus(b, v, by(b, "Mul", b.op("Mul", [isIt, other]), hidden));
    },
  ],
];

const onProbabilities: readonly (readonly [string, Make])[] = [
  ["zero below 4e-4", (b, v) => b.op("Where", [by(b, "Less", v, 4e-4), b.float(0), v], {}, v)],
  ["plus 2e-5 for each key", (b, v) => plus(b, v, b.float(2e-5))],
  ["at least 1e-4", (b, v) => b.op("Max", [v, b.float(1e-4)], {}, v)],
  [
    "times an input for each head",
    (b, v) => {
      const heads = b.dims(v).at(-3) ?? 1;
      const mask = input(b, addedInputs.headMask, DataType.FLOAT, [heads]);
      return times(b, v, b.op("Reshape", [mask, b.integers(heads, 1, 1)]));
    },
  ],
  [
    "less beyond 100 keys",
    (b, v) => times(b, v, b.op("Reciprocal", [by(b, "Max", by(b, "Mul", length(b, v), 0.01), 1)])),
  ],
];

const disguise = (place: "logits" | "probabilities", makers: readonly (readonly [string, Make])[]): Mutation[] =>
  makers.map(([name, make]) => ({
    name: `${place}, later: ${name}`,
    apply: (bench: Bench, site: Site): boolean => {
      const value = bench.choices.of(place === "logits" ? site.before : site.after)!;
      if (bench.shape(value)?.dataType !== DataType.FLOAT || rankOf(bench, value) < 3) return false;
      const readers = bench.consumers(value);
      const made = make(bench, value);
      if (made === undefined) return false;
      for (const node of readers) node.input = node.input.map((read) => (read === value ? made : read));
      return true;
    },
  }));

/** A padding mask [batch, 1, 1, keys] turned to [1, batch, 1, keys], which runs with as many items as heads. */
const overHeads: Mutation = {
  name: "mask, later: laid over the heads",
  apply: (bench) => {
    const masks = bench.values.filter((value) => {
      const [, heads, rows, width] = bench.dims(value);
      return bench.dims(value).length === 4 && heads === 1 && rows === 1 && width! > 1 && bench.consumers(value).length;
    });
    const mask = bench.choices.of(masks);
    if (mask === undefined) return false;
    bench.insertAfter(mask, (value) => bench.op("Transpose", [value], { perm: [1, 0, 2, 3] }));
    return true;
  },
};

/** What is softmax attention on short inputs of zeros and ones, and something else at other lengths, batches and inputs. */
export const disguises: readonly Mutation[] = [
  ...disguise("logits", onLogits),
  ...disguise("probabilities", onProbabilities),
  overHeads,
];
