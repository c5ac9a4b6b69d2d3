import { RandomStream, streamPurpose } from "@favor/core";
import { describe, expect, test } from "vitest";
import { softmaxLaw, type LawShape } from "../../src/attention/proof/softmax-law.ts";

const shape: LawShape = { groups: 2, queries: 5, keys: 6 };
const stream = new RandomStream({ seed: 3, purpose: streamPurpose.sampling, layer: 0 });
const random = (): number => stream.uniform();

/** Applies a rule to each row. */
function byRow(rule: (row: number[], group: number, query: number) => number[]) {
  return (logits: Float64Array): Float64Array => {
    const out = new Float64Array(logits.length);
    for (let at = 0; at < logits.length; at += shape.keys) {
      const row = Math.floor(at / shape.keys);
      const made = rule(
        [...logits.subarray(at, at + shape.keys)],
        Math.floor(row / shape.queries),
        row % shape.queries,
      );
      out.set(made, at);
    }
    return out;
  };
}

function softmax(row: number[]): number[] {
  const largest = Math.max(...row);
  const powers = row.map((value) => Math.exp(value - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((value) => value / sum);
}

/** Rounded as float16 rounds probabilities above a half. */
const inHalf = (value: number): number => Math.round(value * 2048) / 2048;

/** Each head takes some of the other head's logits. */
const mixed = (logits: Float64Array): Float64Array => {
  const half = logits.length / 2;
  return byRow((row) => softmax(row))(
    logits.map((_, i) => (i < half ? logits[i]! + 0.5 * logits[i + half]! : logits[i]! - 0.3 * logits[i - half]!)),
  );
};

const lawOf = (rule: Parameters<typeof byRow>[0]) => softmaxLaw(shape, byRow(rule), random);

describe("the softmax law holds for", () => {
  test.each([0.125, 1, -2])("a scale of %d", (scale) => {
    const law = lawOf((row) => softmax(row.map((value) => scale * value)));
    expect(law).toMatchObject({ scale: expect.closeTo(scale, 6) as number });
  });

  test("a causal mask, whose weights it gives", () => {
    const law = lawOf((row, _, query) => softmax(row.map((value, key) => (key <= query ? value : -1e9))));
    if ("failure" in law) throw new Error(law.failure);
    expect([...law.weights.subarray(0, 12)]).toEqual([1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0]);
  });

  test("a causal mask in float16, where the two keys that a query sees drew logits that it does not tell apart", () => {
    let drawn = 0;
    const law = softmaxLaw(
      shape,
      byRow((row, _, query) => softmax(row.map((value, key) => (key <= query ? value : -1e9))).map(inHalf)),
      () => (drawn++ % shape.keys < 2 ? 0.5 + 1e-4 * random() : random()),
      2e-2,
      0,
    );
    if ("failure" in law) throw new Error(law.failure);
    expect([...law.weights.subarray(6, 12)]).toEqual([1, 1, 0, 0, 0, 0]);
  });

  test("a bias, exp of which is the weight", () => {
    const law = lawOf((row) => softmax(row.map((value, key) => value - 0.5 * key)));
    if ("failure" in law) throw new Error(law.failure);
    expect(law.weights[2]).toBeCloseTo(Math.exp(-1), 9);
  });

  test("a mask that is multiplied in after the softmax", () => {
    const law = lawOf((row) => {
      const kept = softmax(row).map((p, key) => (key % 2 === 0 ? p : 0));
      const sum = kept.reduce((a, b) => a + b, 0);
      return kept.map((p) => p / sum);
    });
    expect(law).toMatchObject({ scale: expect.closeTo(1, 6) as number });
  });

  test("rows that attend to nothing, which have no weights", () => {
    const law = lawOf((row, _, query) =>
      query === 1 ? row.map(() => 0) : query === 2 ? row.map(() => 1 / 6) : softmax(row),
    );
    if ("failure" in law) throw new Error(law.failure);
    const { keys } = shape;
    expect([0, 1, 2, 3].map((query) => Number.isNaN(law.weights[query * keys]!))).toEqual([false, true, true, false]);
  });
});

describe("the softmax law fails for", () => {
  const failing: [string, Parameters<typeof byRow>[0], RegExp][] = [
    ["a soft cap of 50", (row) => softmax(row.map((value) => 50 * Math.tanh(value / 50))), /differ from a softmax/],
    [
      "the three largest logits",
      (row) => {
        const least = row.toSorted((a, b) => b - a)[2]!;
        return softmax(row.map((value) => (value >= least ? value : -1e9)));
      },
      /differ from a softmax/,
    ],
    ["a gate", (row) => softmax(row).map((p) => p * 0.7), /do not add up to 1/],
    ["a sink", (row) => softmax([...row, 0]).slice(0, 6), /do not add up to 1/],
    [
      "ReLU",
      (row) => row.map((value) => (Math.max(value, 0) + 1e-3) / row.reduce((a, b) => a + Math.max(b, 0) + 1e-3, 0)),
      /differ|depend/,
    ],
    [
      "a scale for each head",
      (row, group) => softmax(row.map((value) => value * (1 + group))),
      /differ from a softmax/,
    ],
    ["the square of the logits", (row) => softmax(row.map((value) => value * value)), /differ|depend/],
  ];
  test.each(failing)("%s", (_, rule, message) => {
    expect(lawOf(rule)).toMatchObject({ failure: expect.stringMatching(message) as string });
  });

  test("talking heads", () => {
    expect(softmaxLaw(shape, mixed, random)).toHaveProperty("failure");
  });
});
