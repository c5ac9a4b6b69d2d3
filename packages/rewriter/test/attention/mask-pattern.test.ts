import { describe, expect, test } from "vitest";
import { classifyMask } from "../../src/attention/proof/mask-pattern.ts";
import type { MaskSample } from "../../src/attention/proof/mask-sample.ts";

/** A sample of one or two groups from a weight per query and key; NaN rows where nothing is kept. */
function sample(
  length: number,
  weight: (query: number, key: number, group: number) => number,
  groups: number = 2,
  queries: number = length,
): MaskSample {
  const weights = new Float64Array(groups * queries * length);
  for (let at = 0; at < weights.length; at += length) {
    const row = at / length;
    const own = Float64Array.from({ length }, (_, key) => weight(row % queries, key, Math.floor(row / queries)));
    weights.set(own.some((w) => w > 0) ? own : own.fill(Number.NaN), at);
  }
  return { weights, groups, queries, keys: length };
}

const keep = (condition: boolean): number => (condition ? 1 : 0);
const isReal = (key: number, group: number): boolean => key < 6 || (group === 0 && key < 9);
const segment = (position: number): number => Math.floor(position / 4);

/** exp(bias) with the step of float16 at logits of up to 16, and as many digits. */
const rounded = (bias: number): number => Number(Math.exp(Math.round(bias * 128) / 128).toPrecision(4));

const kindOf = (...samples: MaskSample[]): string => {
  const pattern = classifyMask(samples);
  return pattern.kind === "other" ? pattern.found : pattern.kind;
};

/** The pattern of two samples: one of 9 positions, which may be too short to show a window, and one of 20. */
const patternOf = (sees: (query: number, key: number) => boolean): unknown =>
  classifyMask([9, 20].map((length) => sample(length, (q, k) => keep(sees(q, k)))));

describe("masks", () => {
  const cases: [string, string, (query: number, key: number, group: number) => number][] = [
    ["everything", "none", () => 1],
    ["padding", "padding", (_, k, g) => keep(isReal(k, g))],
    ["causal", "causal", (q, k) => keep(k <= q)],
    ["causal and padding", "padding and causal", (q, k, g) => keep(k <= q && isReal(k, g))],
    ["causal and padding in front", "padding and causal", (q, k, g) => keep(k <= q && k >= 2 + g)],
    ["padded queries attend to nothing", "padding", (q, k, g) => keep(isReal(k, g) && isReal(q, g))],
    ["padded queries see everything", "padding", (q, k, g) => keep(isReal(k, g) || !isReal(q, g))],
    ["a window", "band", (q, k) => keep(Math.abs(q - k) <= 2)],
    ["a causal window", "band", (q, k) => keep(k <= q && q - k <= 3)],
    ["a window and padding", "sliding-window", (q, k, g) => keep(Math.abs(q - k) <= 2 && isReal(k, g))],
    [
      "a causal window, rows without a key falling back to the padding that they see",
      "padding and band",
      (q, k, g) => keep(k <= q && q - k <= 3 && (k >= 2 + g || q < 2 + g)),
    ],
    [
      "causal, rows of padding in front falling back to the future",
      "padding and causal",
      (q, k, g) => keep(k >= 2 + g && (k <= q || q < 2 + g)),
    ],
    ["real keys after what a row could see, seen by a real one", "per-query-mask", (q, k) => keep(k <= q || q === 3)],
    ["segments", "block-diagonal", (q, k) => keep(segment(q) === segment(k))],
    ["a prefix that all see", "per-query-mask", (q, k) => keep(k <= q || k < 4)],
    ["padded queries see nothing, all others everything", "query-mask", (q, _, g) => keep(isReal(q, g))],
    ["strictly before", "per-query-mask", (q, k) => keep(k < q)],
    ["every other key", "padding", (_, k) => keep(k % 2 === 0)],
    ["ALiBi", "alibi", (q, k, g) => Math.exp(-0.2 * (g + 1) * Math.abs(q - k))],
    ["causal ALiBi", "alibi", (q, k) => (k <= q ? Math.exp(0.1 * (k - q)) : 0)],
    ["a bias of the distance", "relative-position-bias", (q, k) => Math.exp(-(((q - k) * 7) % 5) / 6 - 1)],
    ["a bias of both positions", "additive-bias", (q, k) => Math.exp(-((q * k) % 7) / 3)],
  ];
  test.each(cases)("%s: %s", (_, kind, weight) => {
    const scaled = sample(12, weight);
    // Weights count relative to the largest of their row.
    for (let at = 0; at < scaled.weights.length; at += 12) {
      const row = scaled.weights.subarray(at, at + 12);
      const largest = row.reduce((a, b) => Math.max(a, b), 0);
      row.forEach((w, k) => (row[k] = w / largest));
    }
    expect(kindOf(scaled)).toBe(kind);
  });

  const biases: [string, (query: number, key: number) => number][] = [
    ["alibi", (q, k) => -0.317 * Math.abs(q - k)],
    ["relative-position-bias", (q, k) => -(((q - k + 20) * 7) % 5) / 5.7],
    ["additive-bias", (q, k) => -((q * k) % 7) / 3],
  ];
  test.each(biases)("rounded to 16 bits it is still %s", (found, bias) => {
    const pattern = classifyMask([sample(12, (q, k) => rounded(bias(q, k)))], 2e-2);
    expect(pattern).toMatchObject({ kind: "other", found });
  });

  test("one sample with another pattern decides", () => {
    expect(
      kindOf(
        sample(12, () => 1),
        sample(40, (q, k) => keep(Math.abs(q - k) <= 16)),
      ),
    ).toBe("band");
    expect(
      kindOf(
        sample(12, (q, k) => keep(k <= q)),
        sample(12, () => 1),
      ),
    ).toBe("per-query-mask");
  });

  test("a band has the ends that the longest sample shows", () => {
    expect(patternOf((q, k) => k >= q - 3 && k <= q + 5)).toMatchObject({
      kind: "band",
      band: { before: 3, after: 5, firstKeys: 0, firstQueries: 0 },
    });
    expect(patternOf((q, k) => k <= q && (k < 2 || k >= q - 4))).toMatchObject({
      kind: "band",
      band: { before: 4, after: 0, firstKeys: 2, firstQueries: 0 },
    });
    expect(patternOf((q, k) => Math.min(q, k) < 3 || Math.abs(q - k) <= 4)).toMatchObject({
      kind: "band",
      band: { before: 4, after: 4, firstKeys: 3, firstQueries: 3 },
    });
  });

  test.each<[string, (q: number, k: number, group: number) => boolean]>([
    ["of another width in each group", (q, k, g) => Math.abs(q - k) <= 2 + g],
    ["with a gap", (q, k) => Math.abs(q - k) <= 4 && Math.abs(q - k) !== 2],
    ["of one query that sees further", (q, k) => Math.abs(q - k) <= (q === 7 ? 5 : 2)],
    ["to which a key in the middle belongs", (q, k) => Math.abs(q - k) <= 2 || k === 9],
    ["that widens", (q, k) => Math.abs(q - k) <= 2 + (q >> 3)],
    ["of segments", (q, k) => Math.abs(q - k) <= 3 && segment(q) === segment(k)],
    ["of the future without the past", (q, k) => k >= q && k <= q + 3 && !(q === 11 && k === 12)],
  ])("no band: a window %s", (_, sees) => {
    const pattern = classifyMask([12, 20].map((length) => sample(length, (q, k, g) => keep(sees(q, k, g)))));
    expect(pattern.kind).toBe("other");
  });

  test("a window of fewer queries than keys is no band", () => {
    expect(kindOf(sample(9, (q, k) => keep(k <= q + 4 && k > q + 1), 1, 5))).toBe("sliding-window");
  });

  test("fewer queries than keys: causal counts from the end", () => {
    expect(kindOf(sample(9, (q, k) => keep(k <= q + 4), 1, 5))).toBe("causal");
    expect(kindOf(sample(9, (q, k) => keep(k <= q), 1, 5))).not.toBe("causal");
  });

  test("more queries than keys: a query before the first key sees all or nothing", () => {
    expect(kindOf(sample(5, (q, k) => keep(k <= q - 4 || q < 4), 1, 9))).toBe("causal");
    expect(kindOf(sample(5, (q, k) => keep(k <= q % 5), 1, 10))).toBe("per-query-mask");
  });

  test("padding says which keys are kept, for each group", () => {
    const pattern = classifyMask([sample(10, (_, k, g) => keep(isReal(k, g)))]);
    if (pattern.kind !== "padding") throw new Error(pattern.kind);
    expect([...pattern.keep[0]!]).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]);
  });
});
