import { DataType } from "@favor/onnx";
import type { Bench } from "./bench.ts";
import { positions } from "./insertions.ts";
import type { Mutation } from "./mutation.ts";
import type { Site } from "./sites.ts";

/** Positions and sizes of logits, as float32 that broadcasts to them. */
interface Logits {
  readonly b: Bench;
  /** Positions of the queries and of the keys, and key - query. */
  readonly query: string;
  readonly key: string;
  readonly distance: string;
  readonly length: string;
  readonly batch: string;
  readonly heads: number;
}

type Keep = (logits: Logits) => string;

const compare = (b: Bench, opType: "Less" | "Greater", value: string, bound: string | number): string =>
  b.op(opType, [value, typeof bound === "string" ? bound : b.float(bound)]);
const both = (b: Bench, one: string, other: string): string => b.op("And", [one, other]);
const either = (b: Bench, one: string, other: string): string => b.op("Or", [one, other]);
const by = (b: Bench, opType: string, value: string, number: number): string => b.op(opType, [value, b.float(number)]);

const within =
  (before: number, after: number): Keep =>
  ({ b, distance }) =>
    both(b, compare(b, "Greater", distance, -before - 0.5), compare(b, "Less", distance, after + 0.5));
/** A window on both sides of a size that the logits' sizes or positions decide. */
const sized =
  (size: (logits: Logits) => string): Keep =>
  (logits) =>
    compare(logits.b, "Less", logits.b.op("Abs", [logits.distance]), size(logits));
/** A size that is larger by 3 where a condition holds. */
const largerWhere =
  (size: number, condition: (logits: Logits) => string): ((logits: Logits) => string) =>
  (logits) =>
    logits.b.op("Where", [condition(logits), logits.b.float(size + 3.5), logits.b.float(size + 0.5)]);

/** Windows of one size: they are converted, and the outputs stay the same. */
const windows: readonly (readonly [string, Keep])[] = [
  ...(
    [
      [1, 0],
      [4, 4],
      [2, 7],
      [20, 0],
      [60, 60],
      [150, 150],
    ] as const
  ).map(([before, after]) => [`${before} before and ${after} after`, within(before, after)] as const),
  [
    "6 before, causal, and the first 3 keys",
    (at) => both(at.b, within(600, 0)(at), either(at.b, within(6, 0)(at), compare(at.b, "Less", at.key, 2.5))),
  ],
  ["5 on both sides and the first key", (at) => either(at.b, within(5, 5)(at), compare(at.b, "Less", at.key, 0.5))],
  [
    "5 on both sides and the first 2 tokens, which see all",
    ({ b, ...at }) =>
      either(
        b,
        within(5, 5)({ b, ...at }),
        either(b, compare(b, "Less", at.key, 1.5), compare(b, "Less", at.query, 1.5)),
      ),
  ],
];

/** Windows that are none of one size, at some lengths, batches, positions or heads. */
const others: readonly (readonly [string, Keep])[] = [
  ["a quarter of the length", sized(({ b, length }) => by(b, "Mul", length, 0.25))],
  ["wider beyond 40 tokens", sized(largerWhere(4, ({ b, length }) => compare(b, "Greater", length, 40)))],
  ["wider beyond 300 tokens", sized(largerWhere(6, ({ b, length }) => compare(b, "Greater", length, 300)))],
  ["wider for the batch", sized(({ b, batch }) => by(b, "Add", batch, 3.5))],
  ["wider for late queries", sized(largerWhere(4, ({ b, query }) => compare(b, "Greater", query, 90)))],
  [
    "wider for one query",
    sized(
      largerWhere(4, ({ b, query }) => both(b, compare(b, "Greater", query, 76.5), compare(b, "Less", query, 77.5))),
    ),
  ],
  [
    "of each head's own width",
    sized(({ b, heads }) => {
      const sizes = Array.from({ length: heads }, (_, head) => 4.5 + head);
      return b.constant(DataType.FLOAT, [heads, 1, 1], sizes);
    }),
  ],
  [
    "of every second key",
    ({ b, distance, ...at }) => {
      const even = compare(b, "Less", b.op("Mod", [b.op("Abs", [distance]), b.float(2)], { fmod: 1 }), 0.5);
      return both(b, within(8, 8)({ b, distance, ...at }), even);
    },
  ],
  [
    "and a key in the middle",
    ({ b, key, ...at }) => {
      const isIt = both(b, compare(b, "Greater", key, 11.5), compare(b, "Less", key, 12.5));
      return either(b, within(4, 4)({ b, key, ...at }), isIt);
    },
  ],
  [
    "and the last key",
    (at) => either(at.b, within(4, 4)(at), compare(at.b, "Greater", at.key, by(at.b, "Add", at.length, -1.5))),
  ],
  ["and far keys", (at) => either(at.b, within(4, 4)(at), compare(at.b, "Greater", at.distance, 200))],
];

function logitsAt(b: Bench, value: string): Logits {
  const rank = b.dims(value).length;
  const size = (axis: number): string => {
    const count = b.op("Gather", [b.op("Shape", [value]), b.constant(DataType.INT64, [], [axis])]);
    return b.op("Cast", [count], { to: DataType.FLOAT });
  };
  const [query, key] = [positions(b, value, rank - 2), positions(b, value, rank - 1)];
  const distance = b.op("Sub", [key, query]);
  return { b, query, key, distance, length: size(rank - 1), batch: size(0), heads: b.dims(value).at(-3) ?? 1 };
}

const mutation =
  (what: string) =>
  ([name, keep]: readonly [string, Keep]): Mutation => ({
    name: `${what}: ${name}`,
    apply: (bench: Bench, site: Site): boolean => {
      const value = bench.choices.of(site.before)!;
      const dims = bench.dims(value);
      if (bench.shape(value)?.dataType !== DataType.FLOAT || dims.length < 3 || dims.at(-1) !== dims.at(-2))
        return false;
      const readers = bench.consumers(value);
      const hidden = bench.float(bench.choices.of([-1e4, -1e9])!);
      const made = bench.op("Where", [keep(logitsAt(bench, value)), value, hidden], {}, value);
      for (const node of readers) node.input = node.input.map((read) => (read === value ? made : read));
      return true;
    },
  });

export const windowings: readonly Mutation[] = [
  ...windows.map(mutation("a window")),
  ...others.map(mutation("no window")),
];
