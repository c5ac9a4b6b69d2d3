import { describe, expect, test } from "vitest";
import { inspectAttention } from "../../src/model-attention.ts";
import { hidden, hiddenStates, layerModel } from "@favor/test-support/layer";
import type { Layer } from "@favor/test-support/layer";

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

/** Keys and values in two blocks, as flash attention takes them; what joins the blocks is given. */
function inTwoBlocks(b: Layer, join: (parts: { logits: string; value: string }[]) => string): string {
  const [query, key, value] = [b.project("x"), b.project("x"), b.project("x")];
  const halves = (of: string): string[] => b.ops("Split", [of], 2, { axis: { int: 2 } });
  const [values, keys] = [halves(value), halves(key)];
  return b.merge(join(keys.map((block, i) => ({ logits: b.logits(query, block), value: values[i]! }))));
}

const along = (b: Layer, opType: string, of: string): string =>
  opType === "ReduceSum"
    ? b.op(opType, [of, b.integers([-1])], { keepdims: { int: 1 } })
    : b.op(opType, [of], { axes: { ints: [-1] }, keepdims: { int: 1 } });
const exp = (b: Layer, logits: string, less: string): string => b.op("Exp", [b.op("Sub", [logits, less])]);
/** exp of the logits of each block less the largest of all. */
function exponentials(b: Layer, parts: readonly { logits: string }[]): string[] {
  const largest = parts.map(({ logits }) => along(b, "ReduceMax", logits));
  const most = b.op("Max", largest);
  return parts.map(({ logits }) => exp(b, logits, most));
}
const plus = (b: Layer, [one, two]: readonly string[]): string => b.op("Add", [one!, two!]);

const flash: [string, codes: string[], (b: Layer) => string][] = [
  [
    "the normaliser divides what the blocks add up to",
    ["content-dependent-bias", "content-dependent-bias"],
    (b) =>
      inTwoBlocks(b, (parts) => {
        const weights = exponentials(b, parts);
        const sums = weights.map((weight) => along(b, "ReduceSum", weight));
        const products = parts.map(({ value }, i) => b.op("MatMul", [weights[i]!, value]));
        return b.op("Div", [plus(b, products), plus(b, sums)]);
      }),
  ],
  [
    "the probabilities of each block are divided by the normaliser of all",
    ["content-dependent-bias", "content-dependent-bias"],
    (b) =>
      inTwoBlocks(b, (parts) => {
        const weights = exponentials(b, parts);
        const sum = plus(
          b,
          weights.map((weight) => along(b, "ReduceSum", weight)),
        );
        return plus(
          b,
          parts.map(({ value }, i) => b.op("MatMul", [b.op("Div", [weights[i]!, sum]), value])),
        );
      }),
  ],
  [
    "each block a softmax, weighted by its log-sum-exp",
    ["probabilities-used", "probabilities-used"],
    (b) =>
      inTwoBlocks(b, (parts) => {
        const totals = parts.map(({ logits }) => along(b, "ReduceLogSumExp", logits));
        const share = b.softmax(b.concat(totals, 3));
        const shares = b.ops("Split", [share], 2, { axis: { int: 3 } });
        return plus(
          b,
          parts.map(({ logits, value }, i) => b.op("Mul", [b.op("MatMul", [b.softmax(logits), value]), shares[i]!])),
        );
      }),
  ],
  [
    "an online softmax: sums of the first block rescaled by the new maximum",
    ["not-softmax", "content-dependent-bias"],
    (b) =>
      inTwoBlocks(b, ([first, second]) => {
        const before = along(b, "ReduceMax", first!.logits);
        const weights = exp(b, first!.logits, before);
        const most = b.op("Max", [before, along(b, "ReduceMax", second!.logits)]);
        const rescale = exp(b, before, most);
        const later = exp(b, second!.logits, most);
        const kept = (of: string): string => b.op("Mul", [of, rescale]);
        const made = plus(b, [kept(b.op("MatMul", [weights, first!.value])), b.op("MatMul", [later, second!.value])]);
        return b.op("Div", [made, plus(b, [kept(along(b, "ReduceSum", weights)), along(b, "ReduceSum", later)])]);
      }),
  ],
];

describe.each([
  ["free", hiddenStates],
  ["fixed", { ...hiddenStates, dims: ["batch", 12, hidden] }],
] as const)("a softmax over blocks of keys, as flash attention computes it, at a %s length", (_, input) => {
  test.each(flash)("%s: it stays", (_case, codes, write) => {
    const { sites } = inspectAttention(layerModel(write, { inputs: [input] }));
    expect(sites.map(({ reasons }) => reasons.map(({ code }) => code))).toEqual(codes.map((code) => [code]));
  });
});

describe("attention that is not one product of all queries with all keys", () => {
  test.each(cases)("%s: it stays, and a note says so", (_, write) => {
    const { sites, notes } = found(write);
    expect(sites).toEqual([]);
    expect(notes).toEqual([expect.stringMatching(/^1 Softmax nodes? .* not one product of all queries with all keys/)]);
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
