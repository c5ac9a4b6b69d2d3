import { describe, expect, test } from "vitest";
import { inspectAttention } from "../../src/convert.ts";
import { hidden, hiddenStates, layerModel } from "./layer.ts";
import type { Layer } from "./layer.ts";

const found = (write: (b: Layer) => string) => inspectAttention(layerModel(write, { inputs: [hiddenStates] }));

/** softmax(Q K^T) V, without heads. */
const attend = (b: Layer, query: string, key: string, value: string, turn: readonly number[]): string =>
  b.op("MatMul", [b.softmax(b.op("MatMul", [query, b.transpose(key, turn)])), value]);

const cases: [string, (b: Layer) => string][] = [
  [
    "windows of four positions, more of them the longer the input",
    (b) => {
      const windows = b.reshape(b.concat(["x", "x", "x", "x"], 1), [0, -1, 4, hidden]);
      const [query, key, value] = [b.linear(windows), b.linear(windows), b.linear(windows)];
      return b.reshape(attend(b, query, key, value, [0, 1, 3, 2]), [0, -1, hidden]);
    },
  ],
  [
    "a fixed number of latents among themselves",
    (b) => {
      const weights = b.softmax(b.transpose(b.linear("x", 5), [0, 2, 1]));
      const latents = b.op("MatMul", [weights, "x"]);
      return attend(b, b.linear(latents), b.linear(latents), b.linear(latents), [0, 2, 1]);
    },
  ],
  [
    "logits of two kinds of queries, put together",
    (b) => {
      const keys = b.transpose(b.linear("x"), [0, 2, 1]);
      const two = [b.op("MatMul", [b.linear("x"), keys]), b.op("MatMul", [b.linear("x"), keys])];
      const values = b.concat([b.linear("x"), b.linear("x")], 1);
      return b.op("MatMul", [b.softmax(b.op("Mul", [b.concat(two, 2), b.scalar(0.25)])), values]);
    },
  ],
];

describe("attention that is not one product of all queries with all keys", () => {
  test.each(cases)("%s: it stays, and a note says so", (_, write) => {
    const { sites, notes } = found(write);
    expect(sites).toEqual([]);
    expect(notes).toEqual([expect.stringMatching(/^1 Softmax, .* not one product of all queries with all keys/)]);
  });

  test("is noted beside attention that is found", () => {
    const { sites, notes } = found((b) => {
      const pooled = b.op("ReduceMean", [cases[0]![1](b)], { axes: { ints: [1] } });
      return b.op("Add", [b.attend((s) => b.softmax(s)), pooled]);
    });
    expect([sites.length, notes.length]).toEqual([1, 1]);
  });

  const others: [string, (b: Layer) => string][] = [
    ["a gate", (b) => b.op("MatMul", [b.softmax(b.linear("x", 4)), b.weights([4, hidden])])],
    ["pooling", (b) => b.op("MatMul", [b.softmax(b.transpose(b.linear("x", 1), [0, 2, 1])), "x"])],
    [
      "channels compared with channels",
      (b) =>
        attend(
          b,
          b.transpose(b.linear("x"), [0, 2, 1]),
          b.transpose(b.linear("x"), [0, 2, 1]),
          b.transpose("x", [0, 2, 1]),
          [0, 2, 1],
        ),
    ],
    [
      "linear attention",
      (b) => {
        const [query, key] = [b.softmax(b.linear("x")), b.op("Softmax", [b.linear("x")], { axis: { int: 1 } })];
        return b.op("MatMul", [query, b.op("MatMul", [b.transpose(key, [0, 2, 1]), b.linear("x")])]);
      },
    ],
  ];
  test.each(others)("%s is none", (_, write) => {
    expect(found(write)).toMatchObject({ sites: [], notes: [] });
  });
});
