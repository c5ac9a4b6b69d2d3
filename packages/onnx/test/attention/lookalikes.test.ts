import { describe, expect, test } from "vitest";
import { inspectAttention } from "../../src/convert.ts";
import { DataType } from "../../src/model/proto.ts";
import { dim, heads, hidden, hiddenStates, layerModel, paddingMask } from "./layer.ts";
import type { Layer, LayerInput, LayerOptions } from "./layer.ts";

interface Case extends LayerOptions {
  readonly name: string;
  readonly write: (layer: Layer) => string;
  /** Code of the refusal. */
  readonly code: string;
}

const lone = { inputs: [hiddenStates] };
const soft = (b: Layer, logits: string, axis: number = -1): string =>
  b.op("Softmax", [logits], { axis: { int: axis } });
const float = (...dims: LayerInput["dims"]): LayerInput => ({ name: "mask", dataType: DataType.FLOAT, dims });
/** Attention whose logits are kept where `keep` of key position - query position says so. */
const kept = (name: string, code: string, keep: (b: Layer, distances: string) => string): Case => ({
  name,
  code,
  ...lone,
  write: (b) => b.attend((s) => soft(b, b.masked(keep(b, b.distances()), s))),
});

const cases: Case[] = [
  kept("strictly earlier keys", "not-softmax", (b, d) => b.op("Less", [d, b.integer(0)])),
  kept("keys up to one after the query", "per-query-mask", (b, d) => b.op("Less", [d, b.integer(2)])),
  kept("keys from the query on", "per-query-mask", (b, d) => b.op("Not", [b.op("Less", [d, b.integer(0)])])),
  kept("every second key", "block-diagonal", (b, d) => b.op("Equal", [b.op("Mod", [d, b.integer(2)]), b.integer(0)])),
  kept("causal by chunks of four", "per-query-mask", (b) => {
    const chunk = b.op("Div", [b.positions(), b.integer(4)]);
    return b.op("Not", [b.op("Greater", [b.unsqueeze(chunk, [0]), b.unsqueeze(chunk, [1])])]);
  }),
  {
    name: "random pairs of a constant",
    code: "per-query-mask",
    ...lone,
    write: (b) =>
      b.attend((s) => {
        const length = b.dimension("x", 1);
        const pairs = Float32Array.from({ length: 64 * 64 }, (_, i) => (Math.sin(i * i) > 0.3 ? -1e9 : 0));
        const ends = b.concat([length, length], 0);
        const part = b.op("Slice", [b.floats("pairs", [64, 64], pairs), b.integers([0, 0]), ends, b.integers([0, 1])]);
        return soft(b, b.op("Add", [s, part]));
      }),
  },
  {
    name: "the softmax of opset 11 over heads and positions together",
    code: "not-softmax",
    opset: 11,
    ...lone,
    write: (b) => b.attend((s) => soft(b, s, 1)),
  },
  {
    name: "a softmax over the queries",
    code: "not-softmax",
    ...lone,
    write: (b) => b.attend((s) => soft(b, s, 2)),
  },
  {
    name: "probabilities times a gate for each head",
    code: "not-softmax",
    ...lone,
    write: (b) => b.attend((s) => b.op("Mul", [soft(b, s), b.floats("gate", [heads, 1, 1], [0.3, 0.9])])),
  },
  {
    name: "a weight for each key of a constant",
    code: "weighted-keys",
    inputs: [{ ...hiddenStates, dims: [1, 7, hidden] }],
    write: (b) => b.attend((s) => soft(b, b.op("Add", [s, b.floats("weight", [7], [0.1, 2, 0.3, 1, 0, 0.5, 0.2])]))),
  },
  {
    name: "a number for each query and key from outside added",
    code: "per-query-mask",
    inputs: [hiddenStates, float("batch", 1, "length", "length")],
    write: (b) => b.attend((s) => soft(b, b.op("Add", [s, "mask"]))),
  },
  {
    name: "a window of a size from outside",
    code: "per-query-mask",
    inputs: [hiddenStates, { name: "size", dataType: DataType.INT64, dims: [] }],
    write: (b) => b.attend((s) => soft(b, b.masked(b.op("Less", [b.op("Abs", [b.distances()]), "size"]), s))),
  },
  {
    name: "keys of the query's own segment, and the query itself",
    code: "block-diagonal",
    inputs: [hiddenStates, paddingMask],
    write: (b) =>
      b.attend((s) => {
        const other = b.op("Equal", [b.unsqueeze("mask", [1]), b.unsqueeze("mask", [2])]);
        return soft(
          b,
          b.masked(b.unsqueeze(b.op("Or", [other, b.op("Equal", [b.distances(), b.integer(0)])]), [1]), s),
        );
      }),
  },
  {
    name: "a temperature that the content decides",
    code: "content-dependent-bias",
    ...lone,
    write: (b) =>
      b.attend((s) => {
        const heat = b.op("Softplus", [b.op("MatMul", ["x", b.weights([hidden, 1])])]);
        return soft(b, b.op("Mul", [s, b.unsqueeze(heat, [1])]));
      }),
  },
];

describe("what looks like attention that may be replaced, and is not", () => {
  test.each(cases)("$name: $code", ({ write, code, ...options }) => {
    const { sites } = inspectAttention(layerModel(write, options));
    expect(sites.map(({ verdict, reasons }) => [verdict, ...reasons.map((reason) => reason.code)])).toEqual([
      ["refuse", code],
    ]);
  });
});

test("a softmax behind an operator of unknown shape is named in a note", () => {
  const model = layerModel((b) => b.attend((s) => soft(b, s), b.op("Mystery", ["x"], {}, { domain: "com.example" })));
  const { sites, notes } = inspectAttention(model);
  expect(sites).toEqual([]);
  expect(notes.join()).toMatch(/shapes behind .*Mystery.* could not be followed: 1 Softmax/);
});

/** [batch, heads, 3, dim]: means of segments of four. */
const pooled = (b: Layer, rows: string): string =>
  b.op("ReduceMean", [b.reshape(rows, [0, heads, 3, 4, dim])], { axes: { ints: [3] }, keepdims: { int: 0 } });
const soften = (b: Layer, query: string, key: string): string => soft(b, b.logits(query, key));
const product = (b: Layer, left: string, right: string): string => b.op("MatMul", [left, right]);

/** Attention of a fixed and of a free length, and how many sites of each are found. */
const ofLandmarks: { name: string; fixed: number; free: number; write: (b: Layer) => string }[] = [
  {
    name: "Nystrom's",
    fixed: 0,
    free: 0,
    write: (b) => {
      const [q, k, v] = [b.project("x"), b.project("x"), b.project("x")];
      const [queries, keys] = [pooled(b, q), pooled(b, k)];
      const core = soften(b, queries, keys);
      const near = product(b, core, b.op("Sub", [b.scalar(2), core]));
      return b.merge(product(b, product(b, soften(b, q, keys), near), product(b, soften(b, queries, k), v)));
    },
  },
  {
    name: "agents",
    fixed: 0,
    free: 0,
    write: (b) => {
      const [q, k, v] = [b.project("x"), b.project("x"), b.project("x")];
      const agents = pooled(b, q);
      return b.merge(product(b, soften(b, q, agents), product(b, soften(b, agents, k), v)));
    },
  },
  {
    name: "attention to pooled keys, as many as the length lets be",
    fixed: 1,
    free: 0,
    write: (b) => {
      const [q, k, v] = [b.project("x"), pooled(b, b.project("x")), pooled(b, b.project("x"))];
      return b.merge(product(b, soften(b, q, k), v));
    },
  },
  {
    name: "keys that weights mix of all positions, as many as the weights have (Linformer)",
    fixed: 0,
    free: 0,
    write: (b) => {
      const mix = (rows: string): string => product(b, b.weights([4, 12]), rows);
      return b.merge(product(b, soften(b, b.project("x"), mix(b.project("x"))), mix(b.project("x"))));
    },
  },
  {
    name: "queries apart that share their keys",
    fixed: 2,
    free: 2,
    write: (b) => {
      const [k, v] = [b.project("x"), b.project("x")];
      return b.merge(
        b.op(
          "Add",
          [1, 2].map(() => product(b, soften(b, b.project("x"), k), v)),
        ),
      );
    },
  },
  {
    name: "attention over what another made, with no weights between",
    fixed: 2,
    free: 2,
    write: (b) => {
      const first = product(b, soften(b, b.project("x"), b.project("x")), b.project("x"));
      return b.merge(product(b, soften(b, b.project("x"), b.project("x")), first));
    },
  },
];

test.each(ofLandmarks)("landmarks, linear already, are not reported: $name", ({ write, fixed, free }) => {
  const sitesAt = (length: number | string): number =>
    inspectAttention(layerModel(write, { inputs: [{ ...hiddenStates, dims: ["batch", length, hidden] }] })).sites
      .length;
  expect([sitesAt(12), sitesAt("length")]).toEqual([fixed, free]);
});
