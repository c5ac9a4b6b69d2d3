import { describe, expect, test } from "vitest";
import { inspectAttention } from "../../src/model-attention.ts";
import { DataType } from "@favor/onnx";
import { heads, hidden, hiddenStates, layerModel, paddingMask, reEmissionDifference } from "@favor/test-support/layer";
import type { Layer, LayerInput, LayerOptions } from "@favor/test-support/layer";

/** Attention that computes something else than it seems to, found by tools/conformance/src/soundness. */
interface Case extends LayerOptions {
  readonly name: string;
  readonly write: (layer: Layer) => string;
  readonly code: string;
}

const lone = { inputs: [hiddenStates] };
const ids: LayerInput = { name: "ids", dataType: DataType.INT64, dims: ["batch", "length"] };
const tokens = (b: Layer): string => b.cast("ids", DataType.FLOAT);
const padding = (b: Layer, logits: string, fill: number): string => {
  const dropped = b.op("Sub", [b.scalar(1), b.unsqueeze(b.cast("mask", DataType.FLOAT), [1, 2])]);
  return b.op("Add", [logits, b.op("Mul", [dropped, b.scalar(fill)])]);
};

const cases: Case[] = [
  {
    name: "the padding mask along the queries, which then attend to all keys alike",
    code: "query-mask",
    write: (b) => b.attend((s) => b.softmax(b.op("Add", [s, b.transpose(b.paddingBias(), [0, 1, 3, 2])]))),
  },
  {
    name: "a head without logits",
    code: "not-softmax",
    ...lone,
    write: (b) =>
      b.attend((s) => {
        const isFirst = b.cast(b.floats("first", [heads, 1, 1], [1, 0]), DataType.BOOL);
        return b.softmax(b.op("Where", [isFirst, s, b.scalar(0)]));
      }),
  },
  {
    name: "padding at -30, which larger logits outweigh",
    code: "weighted-keys",
    write: (b) => b.attend((s) => b.softmax(padding(b, s, -30))),
  },
  {
    name: "logits bounded from below",
    code: "not-softmax",
    ...lone,
    write: (b) => b.attend((s) => b.softmax(b.op("Max", [s, b.scalar(-25)]))),
  },
  {
    name: "logits bounded on both sides",
    code: "not-softmax",
    ...lone,
    write: (b) => b.attend((s) => b.softmax(b.op("Clip", [s, b.scalar(-50), b.scalar(50)]))),
  },
  {
    name: "logits halved where the first token says so",
    code: "not-softmax",
    inputs: [hiddenStates, ids],
    write: (b) =>
      b.attend((s) => {
        const first = b.op("Slice", ["ids", b.integers([0]), b.integers([1]), b.integers([1])]);
        const isWhole = b.unsqueeze(b.cast(first, DataType.BOOL), [1, 2]);
        return b.softmax(b.op("Where", [isWhole, s, b.op("Mul", [s, b.scalar(0.5)])]));
      }),
  },
  {
    name: "logits multiplied by the logarithm of the length, from a length on that no evaluation reaches",
    code: "not-softmax",
    ...lone,
    write: (b) =>
      b.attend((s) => {
        const length = b.cast(b.squeeze(b.dimension("x", 1), [0]), DataType.FLOAT);
        const ratio = b.op("Div", [b.op("Log", [length]), b.scalar(Math.log(4096))]);
        return b.softmax(b.op("Mul", [s, b.op("Max", [ratio, b.scalar(1)])]));
      }),
  },
  {
    name: "dropout of training between softmax and values",
    code: "mask-not-evaluated",
    ...lone,
    write: (b) => b.attend((s) => b.op("Dropout", [b.softmax(s), b.scalar(0.4), b.cast(b.integer(1), DataType.BOOL)])),
  },
  {
    name: "logits less half the largest of all heads",
    code: "content-dependent-bias",
    ...lone,
    write: (b) => b.attend((s) => b.softmax(b.op("Sub", [s, b.op("Mul", [b.reduceMax(s, 1), b.scalar(0.5)])]))),
  },
  {
    name: "padding at -30 inside onnxruntime's operator",
    code: "weighted-keys",
    write: (b) => {
      const [query, key, value] = [b.linear("x"), b.linear("x"), b.linear("x")];
      const mask = b.cast("mask", DataType.INT32);
      const settings = { num_heads: { int: heads }, mask_filter_value: { float: -30 } };
      return b.op("MultiHeadAttention", [query, key, value, "", mask], settings, { domain: "com.microsoft" });
    },
  },
  {
    name: "padding alone attended to, where there is any",
    code: "not-softmax",
    write: (b) => b.attend((s) => b.softmax(b.op("Neg", [padding(b, s, -3e38)]))),
  },
];

describe("what seems to be softmax attention and is refused", () => {
  test.each(cases)("$name: $code", ({ write, code, ...options }) => {
    const { sites } = inspectAttention(layerModel(write, options));
    expect(sites.map(({ reasons }) => reasons.map((reason) => reason.code))).toEqual([[code]]);
  });
});

test("tokens that a mask keeps by a bound on their numbers are seen to be masked", () => {
  const model = layerModel(
    (b) => {
      const keep = b.unsqueeze(b.op("Less", [tokens(b), b.scalar(30)]), [1, 2]);
      return b.attend((s) => b.softmax(b.masked(keep, s)));
    },
    { inputs: [hiddenStates, ids] },
  );
  const [site] = inspectAttention(model).sites;
  expect(site).toMatchObject({ verdict: "convert", mask: { kind: "padding" } });
});

// Keys from the first real one on, and the first of all: only of an input without any does the latter say it too.
const fromFirstReal = () =>
  layerModel(
    (b) => {
      const isFirst = b.op("Less", [b.positions(), b.integer(1)]);
      const counts = b.op("CumSum", [b.cast("mask", DataType.FLOAT), b.integer(1)]);
      const keep = b.cast(b.op("Max", [counts, b.cast(isFirst, DataType.FLOAT)]), DataType.BOOL);
      return b.attend((s) => b.softmax(b.masked(b.unsqueeze(keep, [1, 2]), s)));
    },
    {
      inputs: [
        { ...hiddenStates, dims: [1, 11, hidden] },
        { ...paddingMask, dims: [1, 11] },
      ],
    },
  );

test("a mask is not taken for a value that says the same of empty inputs alone", async () => {
  expect(inspectAttention(fromFirstReal()).sites).toMatchObject([{ verdict: "convert" }]);
  expect(await reEmissionDifference(fromFirstReal, false)).toBeLessThan(1e-5);
});
