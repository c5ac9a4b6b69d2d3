import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { causalLinearAttention } from "../../src/attention/causal.ts";
import { startCausal } from "../../src/attention/causal-state.ts";
import { linearAttention } from "../../src/attention/linear.ts";
import type { LinearInput, LinearShape } from "../../src/attention/linear-shape.ts";
import { stepCausal } from "../../src/attention/streaming.ts";
import { ArgumentError } from "../../src/errors.ts";
import { denseLinearAttention } from "./dense-linear.ts";
import { relativeError, Sampler } from "./samples.ts";

const shapes = fc.record({
  group: fc.integer({ min: 1, max: 3 }),
  keyHeads: fc.integer({ min: 1, max: 2 }),
  rows: fc.integer({ min: 0, max: 40 }),
  count: fc.integer({ min: 1, max: 9 }),
  valueDim: fc.integer({ min: 1, max: 7 }),
  seed: fc.integer({ min: 1, max: 1e6 }),
});

function sample(s: { group: number; keyHeads: number; rows: number; count: number; valueDim: number; seed: number }): {
  input: LinearInput;
  shape: LinearShape;
} {
  const sampler = new Sampler(s.seed);
  const heads = s.group * s.keyHeads;
  return {
    input: {
      query: sampler.positives(heads * s.rows * s.count),
      key: sampler.positives(s.keyHeads * s.rows * s.count),
      value: sampler.normals(s.keyHeads * s.rows * s.valueDim),
      keyLogScale: sampler.normals(s.keyHeads * s.rows, 3),
      keyMask: Array.from({ length: s.rows }, () => (sampler.uniform() < 0.3 ? 0 : 1)),
    },
    shape: { heads, keyHeads: s.keyHeads, queryRows: s.rows, keyRows: s.rows, count: s.count, valueDim: s.valueDim },
  };
}

describe("linear attention equals its definition, the dense matrix", () => {
  it("bidirectional", () => {
    fc.assert(
      fc.property(shapes, (s) => {
        const { input, shape } = sample(s);
        expect(relativeError(linearAttention(input, shape), denseLinearAttention(input, shape))).toBeLessThan(1e-12);
      }),
      { numRuns: 60, seed: 1 },
    );
  });

  it("causal, for every chunk size", () => {
    fc.assert(
      fc.property(shapes, fc.integer({ min: 1, max: 50 }), (s, chunk) => {
        const { input, shape } = sample(s);
        const actual = causalLinearAttention(input, shape, { chunk });
        expect(relativeError(actual, denseLinearAttention(input, shape, true))).toBeLessThan(1e-12);
      }),
      { numRuns: 60, seed: 2 },
    );
  });

  it("cross-attention, with more keys than queries, none of either", () => {
    const sampler = new Sampler(5);
    for (const [queryRows, keyRows] of [
      [3, 11],
      [11, 3],
      [0, 4],
      [4, 0],
    ] as const) {
      const shape = { heads: 2, queryRows, keyRows, count: 5, valueDim: 3 };
      const input = {
        query: sampler.positives(2 * queryRows * 5),
        key: sampler.positives(2 * keyRows * 5),
        value: sampler.normals(2 * keyRows * 3),
      };
      const actual = linearAttention(input, shape);
      expect(relativeError(actual, denseLinearAttention(input, shape))).toBeLessThan(1e-12);
    }
  });
});

describe("streaming", () => {
  it("token by token equals one full pass, also after a prefix", () => {
    fc.assert(
      fc.property(shapes, fc.nat(40), (s, prefix) => {
        const { input, shape } = sample({ ...s, group: 2, keyHeads: 1 });
        const { rows, count, valueDim } = s;
        const full = causalLinearAttention(input, shape);
        const state = startCausal({ keyHeads: 1, count, valueDim });
        const split = Math.min(prefix, rows);
        const rowsOf = (array: Float64Array, heads: number, from: number, to: number): Float64Array => {
          const width = array.length / heads / rows;
          return Float64Array.from(
            Array.from({ length: heads }, (_, head) => [
              ...array.subarray((head * rows + from) * width, (head * rows + to) * width),
            ]).flat(),
          );
        };
        const mask = Array.from(input.keyMask!);
        const part = (from: number, to: number) => ({
          query: rowsOf(input.query, 2, from, to),
          key: rowsOf(input.key, 1, from, to),
          value: rowsOf(input.value, 1, from, to),
          keyLogScale: rowsOf(input.keyLogScale!, 1, from, to),
        });
        const first = causalLinearAttention(
          { ...part(0, split), keyMask: mask.slice(0, split) },
          { ...shape, queryRows: split, keyRows: split },
          { state, chunk: 4 },
        );
        expect(relativeError(first, rowsOf(full, 2, 0, split))).toBeLessThan(1e-5);
        for (let t = split; t < rows; t++) {
          const out = stepCausal(state, { ...part(t, t + 1), keep: mask[t]! });
          expect(relativeError(out, rowsOf(full, 2, t, t + 1))).toBeLessThan(1e-5);
        }
      }),
      { numRuns: 40, seed: 3 },
    );
  });

  it("a state survives cloning", () => {
    const state = startCausal({ keyHeads: 1, count: 2, valueDim: 1 });
    const token = { query: Float64Array.of(1, 2), key: Float64Array.of(3, 1), value: Float64Array.of(5) };
    stepCausal(state, token);
    const copy = structuredClone(state);
    const next = { ...token, value: Float64Array.of(-1) };
    expect(stepCausal(copy, next)).toEqual(stepCausal(state, next));
    expect(copy).toEqual(state);
  });
});

describe("the causal stabiliser", () => {
  const shape = { heads: 1, queryRows: 30, keyRows: 30, count: 4, valueDim: 3 };
  const sampler = new Sampler(8);
  const input = {
    query: sampler.positives(30 * 4),
    key: sampler.positives(30 * 4),
    value: sampler.normals(30 * 3),
    keyLogScale: sampler.normals(30),
  };

  it.each([1, 7, 64])("never looks at future keys, to the bit (chunk %i)", (chunk) => {
    const before = causalLinearAttention(input, shape, { chunk });
    for (const [scale, value] of [
      [1e6, 1],
      [-1e6, 1],
      [0, Number.NaN],
    ] as const) {
      const changed = { ...input, keyLogScale: input.keyLogScale.slice(), value: input.value.slice() };
      changed.keyLogScale.fill(scale, 20);
      changed.value.fill(value, 20 * 3);
      const after = causalLinearAttention(changed, shape, { chunk });
      expect(after.subarray(0, 20 * 3)).toEqual(before.subarray(0, 20 * 3));
      expect(after.subarray(20 * 3)).not.toEqual(before.subarray(20 * 3));
    }
  });

  it("survives log scales that exp cannot represent, rising and falling", () => {
    for (const slope of [500, -500]) {
      const keyLogScale = Float64Array.from({ length: 30 }, (_, j) => slope * j);
      const out = causalLinearAttention({ ...input, keyLogScale }, shape);
      const leader = (i: number) => (slope > 0 ? i : 0); // exp(500) times the weight of any other key
      for (let i = 0; i < 30; i++) {
        for (let c = 0; c < 3; c++) expect(out[i * 3 + c]).toBeCloseTo(input.value[leader(i) * 3 + c]!, 10);
      }
    }
  });

  it("does not change with a constant on every log scale", () => {
    const shifted = { ...input, keyLogScale: input.keyLogScale.map((x) => x + 900) };
    expect(relativeError(causalLinearAttention(shifted, shape), causalLinearAttention(input, shape))).toBeLessThan(
      1e-12,
    );
  });
});

describe("masks", () => {
  const sampler = new Sampler(3);
  const shape = { heads: 1, queryRows: 6, keyRows: 6, count: 4, valueDim: 2 };
  const input = { query: sampler.positives(24), key: sampler.positives(24), value: sampler.normals(12) };

  it("gives 0 where every key is hidden", () => {
    expect(linearAttention({ ...input, keyMask: new Uint8Array(6) }, shape)).toEqual(new Float64Array(12));
    const causal = causalLinearAttention({ ...input, keyMask: [0, 0, 1, 1, 1, 1] }, shape);
    expect(causal.subarray(0, 4)).toEqual(new Float64Array(4));
    expect(causal.subarray(4, 6)).toEqual(input.value.subarray(4, 6));
  });

  it("hides NaN in hidden keys and values", () => {
    const keyMask = [1, 1, 1, 1, 0, 0];
    const dirty = {
      ...input,
      key: input.key.slice().fill(Number.NaN, 16),
      value: input.value.slice().fill(Infinity, 8),
    };
    expect(linearAttention({ ...dirty, keyMask }, shape)).toEqual(linearAttention({ ...input, keyMask }, shape));
    expect(causalLinearAttention({ ...dirty, keyMask }, shape)).toEqual(
      causalLinearAttention({ ...input, keyMask }, shape),
    );
  });

  it("changes nothing when hidden keys are removed", () => {
    const cut = { query: input.query, key: input.key.subarray(0, 16), value: input.value.subarray(0, 8) };
    expect(
      relativeError(
        linearAttention({ ...input, keyMask: [1, 1, 1, 1, 0, 0] }, shape),
        linearAttention(cut, { ...shape, keyRows: 4 }),
      ),
    ).toBeLessThan(1e-14);
  });
});

describe("bad arguments", () => {
  const shape = { heads: 2, queryRows: 2, keyRows: 2, count: 1, valueDim: 1 };
  const input = { query: new Float64Array(4), key: new Float64Array(4), value: new Float64Array(4) };

  it.each([
    ["query", { ...input, query: new Float64Array(3) }, shape],
    ["value", { ...input, value: new Float64Array(5) }, shape],
    ["keyMask", { ...input, keyMask: [1] }, shape],
    ["keyMask[1]", { ...input, keyMask: [1, Number.NaN] }, shape],
    ["keyLogScale[0]", { ...input, keyLogScale: Float64Array.of(Infinity, 0, 0, 0) }, shape],
    ["shape.keyHeads", input, { ...shape, heads: 3, keyHeads: 2 }],
    ["shape.count", input, { ...shape, count: 0.5 }],
  ])("names %s", (name, badInput, badShape) => {
    for (const call of [linearAttention, causalLinearAttention]) {
      expect(() => call(badInput, badShape)).toThrow(ArgumentError);
      expect(() => call(badInput, badShape)).toThrow(`${name}:`);
    }
  });

  it("refuses a state of other sizes, and unequal rows", () => {
    const state = startCausal({ keyHeads: 1, count: 1, valueDim: 1 });
    expect(() => causalLinearAttention(input, shape, { state })).toThrow("options.state:");
    expect(() => causalLinearAttention(input, { ...shape, keyRows: 3 })).toThrow("shape.keyRows:");
    expect(() => stepCausal(startCausal({ keyHeads: 1, count: 3, valueDim: 1 }), { ...input })).toThrow("query:");
  });
});
