import { RandomStream, streamPurpose } from "@favor/core";
import { DataType, encodeModel, type ModelProto } from "@favor/onnx";
import {
  dim,
  hidden,
  hiddenStates,
  layerModel,
  paddingMask,
  type Layer,
  type LayerOptions,
} from "@favor/test-support/layer";
import { openSession } from "@favor/test-support/onnxruntime";
import { Tensor, type InferenceSession } from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import type { Band } from "../../src/attention/band.ts";
import { convertAttention } from "../../src/model-attention.ts";
import type { ConvertOptions } from "../../src/options.ts";

interface Case extends LayerOptions {
  readonly name: string;
  readonly band: Partial<Band>;
  readonly padded?: boolean;
  /** Which keys each query sees, [length, length]. */
  readonly keep: (b: Layer) => string;
}

const near = (before: number, after: number) => (b: Layer) =>
  b.op("And", [
    b.op("GreaterOrEqual", [b.distances(), b.integer(-before)]),
    b.op("LessOrEqual", [b.distances(), b.integer(after)]),
  ]);
const firstKeys = (b: Layer, count: number): string =>
  b.op("Less", [b.unsqueeze(b.positions(), [0]), b.integer(count)]);
const firstQueries = (b: Layer, count: number): string =>
  b.op("Less", [b.unsqueeze(b.positions(), [1]), b.integer(count)]);
const past = (b: Layer): string => b.op("LessOrEqual", [b.distances(), b.integer(0)]);

const cases: readonly Case[] = [
  { name: "3 on both sides", band: { before: 3, after: 3 }, keep: near(3, 3) },
  { name: "40 on both sides and padding", band: { before: 40, after: 40 }, padded: true, keep: near(40, 40) },
  { name: "70 on both sides, opset 13", band: { before: 70, after: 70 }, opset: 13, keep: near(70, 70) },
  { name: "the query itself and the key before it", band: { before: 1, after: 0 }, padded: true, keep: near(1, 0) },
  { name: "causal, 5 before", band: { before: 5, after: 0 }, keep: near(5, 0) },
  { name: "causal, 33 before, and padding", band: { before: 33, after: 0 }, padded: true, keep: near(33, 0) },
  { name: "2 before and 9 after", band: { before: 2, after: 9 }, padded: true, keep: near(2, 9) },
  {
    name: "the first 4 keys and 6 before, causal",
    band: { before: 6, after: 0, firstKeys: 4 },
    padded: true,
    keep: (b) => b.op("And", [past(b), b.op("Or", [near(6, 0)(b), firstKeys(b, 4)])]),
  },
  {
    name: "the first key, by all, and 5 on both sides",
    band: { before: 5, after: 5, firstKeys: 1 },
    keep: (b) => b.op("Or", [near(5, 5)(b), firstKeys(b, 1)]),
  },
  {
    name: "the first 2 tokens, as keys and as queries, and 5 on both sides",
    band: { before: 5, after: 5, firstKeys: 2, firstQueries: 2 },
    padded: true,
    keep: (b) => b.op("Or", [near(5, 5)(b), b.op("Or", [firstKeys(b, 2), firstQueries(b, 2)])]),
  },
];

/** Wider than what is computed in blocks at once. */
const wide: readonly Case[] = [
  { name: "150 on both sides and padding", band: { before: 150, after: 150 }, padded: true, keep: near(150, 150) },
  { name: "causal, 300 before, opset 13", band: { before: 300, after: 0 }, opset: 13, keep: near(300, 0) },
  {
    name: "causal, the first 4 keys and 280 before",
    band: { before: 280, after: 0, firstKeys: 4 },
    padded: true,
    keep: (b) => b.op("And", [past(b), b.op("Or", [near(280, 0)(b), firstKeys(b, 4)])]),
  },
  {
    name: "the first 2 tokens, as keys and as queries, and 140 on both sides",
    band: { before: 140, after: 140, firstKeys: 2, firstQueries: 2 },
    padded: true,
    keep: (b) => b.op("Or", [near(140, 140)(b), b.op("Or", [firstKeys(b, 2), firstQueries(b, 2)])]),
  },
];

const lengths = [1, 2, 5, 15, 16, 17, 31, 33, 64, 65, 100, 129, 193, 260];
const longer = [1, 2, 3, 16, 150, 255, 256, 257, 301, 513, 700];

function modelOf({ keep, padded = false, ...options }: Case): ModelProto {
  return layerModel(
    (b) =>
      b.attend((s) => b.softmax(padded ? b.op("Add", [b.masked(keep(b), s), b.paddingBias()]) : b.masked(keep(b), s))),
    { ...options, inputs: padded ? [hiddenStates, paddingMask] : [hiddenStates] },
  );
}

/** Random numbers, and real tokens at the end of each row or at its beginning. */
function feedsOf(batch: number, length: number, padded: boolean): Record<string, Tensor> {
  const random = new RandomStream({ seed: length, purpose: streamPurpose.sampling, layer: batch });
  const x = Float32Array.from({ length: batch * length * hidden }, () => 4 * random.uniform() - 2);
  const real = Array.from({ length: batch }, () => 1 + Math.floor(random.uniform() * length));
  const mask = BigInt64Array.from({ length: batch * length }, (_, i) => {
    const [row, at] = [Math.floor(i / length), i % length];
    return row % 2 === 0 ? BigInt(at < real[row]!) : BigInt(at >= length - real[row]!);
  });
  return {
    x: new Tensor("float32", x, [batch, length, hidden]),
    ...(padded && { mask: new Tensor("int64", mask, [batch, length]) }),
  };
}

/** Largest difference where the mask keeps positions, NaN if there is a number that is none. */
async function difference(
  one: InferenceSession,
  other: InferenceSession,
  feeds: Record<string, Tensor>,
): Promise<number> {
  const [a, b] = [await one.run(feeds), await other.run(feeds)].map(({ out }) => out!.data as Float32Array);
  const mask = feeds["mask"]?.data as BigInt64Array | undefined;
  return a!.reduce((worst, entry, i) => {
    if (Number.isNaN(b![i]!)) return Number.NaN;
    return mask?.[Math.floor(i / hidden)] === 0n ? worst : Math.max(worst, Math.abs(entry - b![i]!));
  }, 0);
}

const stateOf = (options: ConvertOptions): string[] =>
  convertAttention(modelOf(cases[0]!), options).sites.map(({ state }) => state);

describe("attention within a band", () => {
  test.each([...cases.map((made) => ({ ...made, lengths })), ...wide.map((made) => ({ ...made, lengths: longer }))])(
    "$name",
    async ({ lengths: tried, ...made }) => {
      const { model, sites } = convertAttention(modelOf(made), { count: 16 });
      expect(sites.map(({ state, mask }) => [state, mask.band])).toEqual([
        ["band", { firstKeys: 0, firstQueries: 0, ...made.band }],
      ]);
      const [original, converted] = [
        await openSession(encodeModel(modelOf(made))),
        await openSession(encodeModel(model)),
      ];
      for (const length of tried) {
        for (const batch of [1, 3]) {
          const feeds = feedsOf(batch, length, made.padded ?? false);
          expect(await difference(original, converted, feeds)).toBeLessThan(1e-5);
        }
      }
    },
  );

  test.each<[string, number, (b: Layer) => string]>([
    [
      "keys and values that all heads share",
      1e-5,
      (b) => {
        const [query, key, value] = [b.project("x"), b.project("x", 1), b.project("x", 1)];
        return b.merge(b.op("MatMul", [b.softmax(b.masked(near(9, 4)(b), b.logits(query, key))), value]));
      },
    ],
    [
      "half precision",
      5e-3,
      (b) => {
        const half = (value: string): string => b.cast(value, DataType.FLOAT16);
        const [query, key, value] = [half(b.project("x")), half(b.project("x")), half(b.project("x"))];
        const logits = b.op("MatMul", [query, b.transpose(key, [0, 1, 3, 2])]);
        const scaled = b.op("Mul", [logits, half(b.scalar(1 / Math.sqrt(dim)))]);
        const probabilities = b.softmax(b.op("Where", [near(9, 4)(b), scaled, half(b.scalar(-65504))]));
        return b.cast(b.merge(b.op("MatMul", [probabilities, value])), DataType.FLOAT);
      },
    ],
  ])("%s", async (_, tolerance, write) => {
    const made = (): ModelProto => layerModel(write, { inputs: [hiddenStates] });
    const { model, sites } = convertAttention(made(), { count: 16 });
    expect(sites.map(({ state }) => state)).toEqual(["band"]);
    const [original, converted] = [await openSession(encodeModel(made())), await openSession(encodeModel(model))];
    for (const length of [1, 14, 15, 47, 70]) {
      expect(await difference(original, converted, feedsOf(2, length, false))).toBeLessThan(tolerance);
    }
  });

  test("cannot be fed in pieces, and says why", () => {
    const made = cases.find(({ name }) => name === "causal, 5 before")!;
    expect(() => convertAttention(modelOf(made), { count: 16, stateful: true })).toThrow(/attends within a window/);
  });

  test("is computed within the window where softmax is written exactly, too, and stays if it is to be kept", () => {
    expect(stateOf({ features: "exact" })).toEqual(["band"]);
    expect(stateOf({ keep: [0] })).toEqual(["unchanged"]);
  });
});
