import { describe, expect, test } from "vitest";
import { inspectAttention } from "../../src/model-attention.ts";
import { DataType } from "@favor/onnx";
import {
  dim,
  heads,
  hidden,
  hiddenStates,
  layerModel,
  paddingMask,
  reEmissionDifference,
} from "@favor/test-support/layer";
import type { Layer, LayerOptions } from "@favor/test-support/layer";

interface Case extends LayerOptions {
  readonly name: string;
  readonly write: (layer: Layer) => string;
  readonly mask: "none" | "padding" | "causal" | "padding and causal";
  readonly kind?: "self" | "cross";
  readonly sites?: number;
}

const padded = (b: Layer, logits: string): string => b.op("Add", [logits, b.paddingBias()]);
const future = (b: Layer): string => b.op("Greater", [b.distances(), b.integer(0)]);
const memory = { name: "memory", dataType: DataType.FLOAT, dims: ["batch", "keys", hidden] };

const cases: Case[] = [
  { name: "no mask", mask: "none", write: (b) => b.attend((s) => b.softmax(s)) },
  { name: "additive padding mask", mask: "padding", write: (b) => b.attend((s) => b.softmax(padded(b, s))) },
  {
    name: "boolean mask by Where on the logits",
    mask: "padding",
    write: (b) => b.attend((s) => b.softmax(b.masked(b.unsqueeze(b.cast("mask", DataType.BOOL), [1, 2]), s))),
  },
  {
    name: "softmax written out, without its maximum",
    mask: "padding",
    write: (b) =>
      b.attend((s) => {
        const exponentials = b.op("Exp", [padded(b, s)]);
        return b.op("Div", [exponentials, b.reduceSum(exponentials, 3)]);
      }),
  },
  {
    name: "softmax written out, with its maximum",
    mask: "padding",
    write: (b) =>
      b.attend((s) => {
        const logits = padded(b, s);
        const exponentials = b.op("Exp", [b.op("Sub", [logits, b.reduceMax(logits, 3)])]);
        return b.op("Mul", [exponentials, b.op("Reciprocal", [b.reduceSum(exponentials, 3)])]);
      }),
  },
  {
    name: "LogSoftmax and Exp",
    mask: "padding",
    write: (b) => b.attend((s) => b.op("Exp", [b.op("LogSoftmax", [padded(b, s)], { axis: { int: -1 } })])),
  },
  {
    name: "mask after the softmax, P m / sum P m",
    mask: "padding",
    write: (b) =>
      b.attend((s) => {
        const kept = b.op("Mul", [b.softmax(s), b.unsqueeze(b.cast("mask", DataType.FLOAT), [1, 2])]);
        return b.op("Div", [kept, b.reduceSum(kept, 3)]);
      }),
  },
  {
    name: "guard against rows of NaN",
    mask: "padding",
    write: (b) =>
      b.attend((s) => {
        const p = b.softmax(padded(b, s));
        return b.op("Where", [b.op("IsNaN", [p]), b.scalar(0), p]);
      }),
  },
  {
    name: "softmax of a middle axis between transpositions",
    mask: "padding",
    write: (b) =>
      b.attend((s) => {
        const moved = b.transpose(padded(b, s), [0, 3, 2, 1]);
        return b.transpose(b.op("Softmax", [moved], { axis: { int: 1 } }), [0, 3, 2, 1]);
      }),
  },
  {
    name: "flattening softmax of opset 11",
    mask: "padding",
    opset: 11,
    write: (b) => b.attend((s) => b.op("Softmax", [padded(b, s)], { axis: { int: 3 } })),
  },
  {
    name: "keys before queries: softmax over the rows",
    mask: "padding",
    write: (b) => {
      const [q, k, v] = [b.project("x"), b.project("x"), b.project("x")];
      const bias = b.transpose(b.paddingBias(), [0, 1, 3, 2]);
      const p = b.op("Softmax", [b.op("Add", [b.logits(k, q), bias])], { axis: { int: 2 } });
      return b.merge(b.op("MatMul", [b.transpose(p, [0, 1, 3, 2]), v]));
    },
  },
  {
    name: "Einsum, heads after positions",
    mask: "padding",
    write: (b) => {
      const rows = (): string => b.reshape(b.linear("x"), [0, 0, heads, dim]);
      const [q, k, v] = [rows(), rows(), rows()];
      const s = b.op("Einsum", [q, k], { equation: { string: "bqhd,bkhd->bhqk" } });
      const p = b.softmax(padded(b, b.op("Mul", [s, b.scalar(0.35)])));
      return b.reshape(b.op("Einsum", [p, v], { equation: { string: "bhqk,bkhd->bqhd" } }), [0, 0, hidden]);
    },
  },
  {
    name: "batch and heads folded",
    mask: "none",
    write: (b) => {
      const fold = (): string => {
        const length = b.dimension("x", 1);
        const shape = b.concat([b.integers([-1]), length, b.integers([dim])], 0);
        return b.op("Reshape", [b.project("x"), shape]);
      };
      const [q, k, v] = [fold(), fold(), fold()];
      const p = b.softmax(b.op("MatMul", [q, b.transpose(k, [0, 2, 1])]));
      const shape = b.concat([b.integers([-1, heads]), b.dimension("x", 1), b.integers([dim])], 0);
      return b.merge(b.op("Reshape", [b.op("MatMul", [p, v]), shape]));
    },
  },
  {
    name: "sequence first",
    mask: "none",
    inputs: [{ ...hiddenStates, dims: ["length", "batch", hidden] }],
    write: (b) => {
      const split = (): string => b.transpose(b.reshape(b.linear("x"), [0, 0, heads, dim]), [1, 2, 0, 3]);
      const [q, k, v] = [split(), split(), split()];
      return b.reshape(b.transpose(b.op("MatMul", [b.softmax(b.logits(q, k)), v]), [2, 0, 1, 3]), [0, 0, hidden]);
    },
  },
  {
    name: "keys as columns of a convolution",
    mask: "padding",
    write: (b) => {
      const columns = b.transpose("x", [0, 2, 1]);
      const split = (): string =>
        b.reshape(b.op("Conv", [columns, b.weights([hidden, hidden, 1])]), [0, heads, dim, -1]);
      const [q, k, v] = [split(), split(), split()].map((value) => value) as [string, string, string];
      const s = b.op("MatMul", [b.transpose(q, [0, 1, 3, 2]), k]);
      return b.merge(b.op("MatMul", [b.softmax(padded(b, s)), b.transpose(v, [0, 1, 3, 2])]));
    },
  },
  {
    name: "causal by Trilu",
    mask: "causal",
    write: (b) =>
      b.attend((s) => {
        const length = b.dimension("x", 1);
        const ones = b.op("Expand", [b.scalar(1), b.concat([length, length], 0)]);
        return b.softmax(b.masked(b.cast(b.op("Trilu", [ones], { upper: { int: 0 } }), DataType.BOOL), s));
      }),
  },
  {
    name: "causal and padding",
    mask: "padding and causal",
    write: (b) => b.attend((s) => b.softmax(b.op("Where", [future(b), b.scalar(-1e9), padded(b, s)]))),
  },
  {
    name: "causal by a slice of a constant",
    mask: "causal",
    inputs: [hiddenStates],
    write: (b) =>
      b.attend((s) => {
        const length = b.dimension("x", 1);
        const table = Float32Array.from({ length: 64 * 64 }, (_, i) => (i % 64 <= Math.floor(i / 64) ? 0 : -1e9));
        const ends = b.concat([length, length], 0);
        const part = b.op("Slice", [b.floats("tril", [64, 64], table), b.integers([0, 0]), ends, b.integers([0, 1])]);
        return b.softmax(b.op("Add", [s, part]));
      }),
  },
  {
    name: "keys normalised by their root mean square",
    mask: "none",
    write: (b) => {
      const normal = (v: string): string => b.op("Div", [v, b.op("ReduceL2", [v], { axes: { ints: [3] } })]);
      const [q, k, v] = [normal(b.project("x")), normal(b.project("x")), b.project("x")];
      return b.merge(b.op("MatMul", [b.softmax(b.op("Mul", [b.logits(q, k), b.scalar(10)])), v]));
    },
  },
  {
    name: "one key and value head for all queries",
    mask: "padding",
    write: (b) => {
      const [q, k, v] = [b.project("x"), b.project("x", 1), b.project("x", 1)];
      return b.merge(b.op("MatMul", [b.softmax(padded(b, b.logits(q, k))), v]));
    },
  },
  {
    name: "two axes of heads: queries in groups that share a key",
    mask: "padding",
    write: (b) => {
      const [groups, pairs] = [3, 2];
      const grouped = b.reshape(b.linear("x", groups * pairs * dim), [0, 0, pairs, groups, dim]);
      const shared = (): string => b.unsqueeze(b.project("x", pairs), [2]);
      const [q, k, v] = [b.transpose(grouped, [0, 2, 3, 1, 4]), shared(), shared()];
      const s = b.op("MatMul", [q, b.transpose(k, [0, 1, 2, 4, 3])]);
      const p = b.op("Softmax", [b.op("Add", [s, b.unsqueeze(b.paddingBias(), [1])])], { axis: { int: -1 } });
      const context = b.transpose(b.op("MatMul", [p, v]), [0, 3, 1, 2, 4]);
      return b.reshape(context, [0, 0, pairs * groups * dim]);
    },
  },
  {
    name: "two axes of heads by Einsum, groups before heads",
    mask: "none",
    write: (b) => {
      const [groups, pairs] = [3, 2];
      const q = b.reshape(b.linear("x", groups * pairs * dim), [0, 0, groups, pairs, dim]);
      const [k, v] = [b.project("x", pairs), b.project("x", pairs)];
      const s = b.op("Einsum", [q, k], { equation: { string: "bighd,bhjd->bghij" } });
      const p = b.op("Softmax", [b.op("Mul", [s, b.scalar(0.3)])], { axis: { int: -1 } });
      const context = b.op("Einsum", [p, v], { equation: { string: "bghij,bhjd->bighd" } });
      return b.reshape(context, [0, 0, pairs * groups * dim]);
    },
  },
  {
    name: "values wider than keys",
    mask: "padding",
    write: (b) => {
      const [q, k, v] = [b.project("x"), b.project("x"), b.project("x", heads, 12)];
      return b.merge(b.op("MatMul", [b.softmax(padded(b, b.logits(q, k))), v]), heads * 12);
    },
  },
  {
    name: "an added key of zeros",
    mask: "none",
    inputs: [hiddenStates],
    write: (b) => {
      const extend = (v: string): string => {
        const zero = b.op("Mul", [b.slice(v, 2, 0, 1), b.scalar(0)]);
        return b.concat([v, zero], 2);
      };
      const [q, k, v] = [b.project("x"), extend(b.project("x")), extend(b.project("x"))];
      return b.merge(b.op("MatMul", [b.softmax(b.logits(q, k)), v]));
    },
  },
  {
    name: "columns of an alignment of fixed size, heads and columns in another order than the output's",
    mask: "none",
    inputs: [{ ...hiddenStates, dims: [4, 11, hidden] }],
    write: (b) => {
      const split = (): string => b.reshape(b.linear("x"), [4, 11, heads, dim]);
      const logits = b.op("Einsum", [split(), split()], { equation: { string: "ichd,jchd->hcij" } });
      const context = b.op("Einsum", [b.softmax(logits), split()], { equation: { string: "hcij,jchd->ichd" } });
      return b.reshape(context, [4, 11, hidden]);
    },
  },
  {
    name: "a second product of the probabilities, of which the shape alone is read",
    mask: "none",
    inputs: [hiddenStates],
    write: (b) => {
      const [q, k, v] = [b.project("x"), b.project("x"), b.project("x")];
      const probabilities = b.softmax(b.logits(q, k));
      const [context, again] = [1, 2].map(() => b.op("MatMul", [probabilities, v])) as [string, string];
      const shape = b.concat([b.dimension(again, 0), b.dimension(again, 2), b.integers([hidden])], 0);
      return b.op("Reshape", [b.transpose(context, [0, 2, 1, 3]), shape]);
    },
  },
  {
    name: "lengths that leave nothing of a short item, whose rows fall back to all keys",
    mask: "padding",
    inputs: [hiddenStates, { name: "lengths", dataType: DataType.INT64, dims: ["batch"] }],
    write: (b) => {
      const kept = b.op("Sub", ["lengths", b.integer(5)]);
      const keep = b.op("Less", [b.unsqueeze(b.positions(), [0]), b.unsqueeze(kept, [1])]);
      return b.attend((s) => b.softmax(b.masked(b.unsqueeze(keep, [1, 2]), s)));
    },
  },
  {
    name: "causal, and keys from the first that counts on, the very first always: the soundness fuzz's case 513 of seed 101",
    mask: "padding and causal",
    inputs: [hiddenStates, paddingMask],
    write: (b) => {
      const isFirst = b.cast(b.op("Equal", [b.positions(), b.integer(0)]), DataType.INT64);
      const counted = b.op("CumSum", ["mask", b.integer(1)]);
      const keys = b.cast(b.op("Max", [counted, isFirst]), DataType.BOOL);
      const keep = b.op("And", [b.op("Not", [future(b)]), b.unsqueeze(keys, [1, 2])]);
      return b.attend((s) => b.softmax(b.masked(keep, s)));
    },
  },
  {
    name: "time folded into the batch",
    mask: "none",
    inputs: [{ ...hiddenStates, dims: ["batch", 3, "length", hidden] }],
    write: (b) => {
      const shape = b.op("Shape", ["x"]);
      const frames = b.op("Reshape", ["x", b.concat([b.integers([-1]), b.slice(shape, 0, 2, 4)], 0)]);
      return b.op("Reshape", [b.attend((s) => b.softmax(s), frames), shape]);
    },
  },
  {
    name: "cross-attention with a mask of the keys",
    mask: "padding",
    kind: "cross",
    inputs: [hiddenStates, memory, { ...paddingMask, dims: ["batch", "keys"] }],
    write: (b) => {
      const [q, k, v] = [b.project("x"), b.project("memory"), b.project("memory")];
      return b.merge(b.op("MatMul", [b.softmax(padded(b, b.logits(q, k))), v]));
    },
  },
  {
    name: "heads one by one",
    mask: "padding",
    sites: heads,
    write: (b) =>
      b.concat(
        Array.from({ length: heads }, () => {
          const [q, k, v] = [b.linear("x", dim), b.linear("x", dim), b.linear("x", dim)];
          const bias = b.squeeze(b.paddingBias(), [1]);
          const s = b.op("Add", [b.op("MatMul", [q, b.transpose(k, [0, 2, 1])]), bias]);
          return b.op("MatMul", [b.op("Softmax", [s], { axis: { int: -1 } }), v]);
        }),
        2,
      ),
  },
];

describe("attention that may be replaced", () => {
  test.each(cases)("$name", async ({ write, mask, kind = "self", sites: count = 1, ...options }) => {
    const { sites } = inspectAttention(layerModel(write, options));
    expect(sites.flatMap(({ reasons }) => reasons)).toEqual([]);
    expect(sites.map((site) => [site.kind, site.mask.kind])).toEqual(Array.from({ length: count }, () => [kind, mask]));
    const padding = mask.includes("padding") && kind === "self";
    expect(await reEmissionDifference(() => layerModel(write, options), padding)).toBeLessThan(2e-6);
  });
});
