import { describe, expect, test } from "vitest";
import { inspectAttention } from "../../src/model-attention.ts";
import { DataType } from "@favor/onnx";
import { heads, hidden, hiddenStates, layerModel, paddingMask } from "@favor/test-support/layer";
import type { Layer, LayerInput, LayerOptions } from "@favor/test-support/layer";

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
  expect(notes.join()).toMatch(/shapes behind .*Mystery.* are unknown.*1 Softmax node/);
});

/** The first three rows of each head. */
const three = (b: Layer, rows: string): string => b.slice(rows, 2, 0, 3);
/** Every fourth row of each head. */
const fourths = (b: Layer, rows: string): string =>
  b.op("Slice", [rows, b.integers([0]), b.integers([2 ** 31]), b.integers([2]), b.integers([4])]);
const soften = (b: Layer, query: string, key: string): string => soft(b, b.logits(query, key));
const product = (b: Layer, left: string, right: string): string => b.op("MatMul", [left, right]);

/** softmax(Q K~^T) C (softmax(Q~ K^T) V) with a matrix C made of softmax(Q~ K~^T). */
const nystrom =
  (landmarks: typeof three) =>
  (b: Layer): string => {
    const [q, k, v] = [b.project("x"), b.project("x"), b.project("x")];
    const [queries, keys] = [landmarks(b, q), landmarks(b, k)];
    const core = soften(b, queries, keys);
    const near = product(b, core, b.op("Sub", [b.scalar(2), core]));
    return b.merge(product(b, product(b, soften(b, q, keys), near), product(b, soften(b, queries, k), v)));
  };

interface OfLandmarks {
  readonly name: string;
  /** Sites that are found where the length is fixed, and where it is free. */
  readonly fixed: number;
  readonly free: number;
  /** Whether a note says that it is linear already. */
  readonly isLinear?: true;
  readonly write: (b: Layer) => string;
}

const ofLandmarks: OfLandmarks[] = [
  {
    name: "Nystrom's",
    fixed: 0,
    free: 0,
    isLinear: true,
    write: nystrom(three),
  },
  {
    name: "Nystrom's, with more landmarks for longer inputs",
    fixed: 0,
    free: 0,
    isLinear: true,
    write: nystrom(fourths),
  },
  {
    name: "agents",
    fixed: 0,
    free: 0,
    isLinear: true,
    write: (b) => {
      const [q, k, v] = [b.project("x"), b.project("x"), b.project("x")];
      const agents = three(b, q);
      return b.merge(product(b, soften(b, q, agents), product(b, soften(b, agents, k), v)));
    },
  },
  {
    name: "attention to the first keys alone",
    fixed: 1,
    free: 0,
    write: (b) => {
      const [q, k, v] = [b.project("x"), three(b, b.project("x")), three(b, b.project("x"))];
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

test.each(ofLandmarks)("landmarks, linear already, are no sites: $name", ({ write, fixed, free, isLinear = false }) => {
  for (const [length, count] of [
    [12, fixed],
    ["length", free],
  ] as const) {
    const model = layerModel(write, { inputs: [{ ...hiddenStates, dims: ["batch", length, hidden] }] });
    const { sites, notes } = inspectAttention(model);
    expect(sites).toHaveLength(count);
    const isSaid = notes.some((note) => /through landmarks.* is already linear in the length/.test(note));
    expect(isSaid).toBe(isLinear);
  }
});
