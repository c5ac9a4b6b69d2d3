import { describe, expect, it } from "vitest";
import { causalLinearAttentionBackward } from "../../src/attention/causal-backward.ts";
import { causalLinearAttention } from "../../src/attention/causal.ts";
import { linearAttentionBackward } from "../../src/attention/linear-backward.ts";
import { linearAttention } from "../../src/attention/linear.ts";
import type { LinearInput } from "../../src/attention/linear-shape.ts";
import { Sampler } from "./samples.ts";

const shape = { heads: 4, keyHeads: 2, queryRows: 9, keyRows: 9, count: 5, valueDim: 3 };

function sample(seed: number): LinearInput & { keyLogScale: Float64Array } {
  const sampler = new Sampler(seed);
  return {
    query: sampler.positives(4 * 9 * 5),
    key: sampler.positives(2 * 9 * 5),
    value: sampler.normals(2 * 9 * 3),
    keyLogScale: sampler.normals(2 * 9, 2),
    keyMask: [0, 1, 1, 0, 1, 0.5, 1, 1, 1],
  };
}

describe.each([
  { name: "bidirectional", forward: linearAttention, backward: linearAttentionBackward },
  {
    name: "causal, chunks of 4",
    forward: (input: LinearInput, s: typeof shape) => causalLinearAttention(input, s, { chunk: 4 }),
    backward: (input: LinearInput, s: typeof shape, g: Float64Array) =>
      causalLinearAttentionBackward(input, s, g, { chunk: 4 }),
  },
])("the backward pass, $name", ({ forward, backward }) => {
  it("agrees with finite differences in every argument", () => {
    const input = sample(11);
    const upstream = new Sampler(12).normals(4 * 9 * 3);
    const loss = (changed: LinearInput) =>
      forward(changed, shape).reduce((sum, value, i) => sum + value * upstream[i]!, 0);
    const gradients = backward(input, shape, upstream);
    const step = 1e-6;
    for (const name of ["query", "key", "value", "keyLogScale"] as const) {
      for (let i = 0; i < input[name].length; i++) {
        const at = (delta: number) => {
          const array = input[name].slice();
          array[i]! += delta;
          return loss({ ...input, [name]: array });
        };
        const numeric = (at(step) - at(-step)) / (2 * step);
        expect(Math.abs(gradients[name][i]! - numeric), `${name}[${i}]`).toBeLessThan(2e-8 * (1 + Math.abs(numeric)));
      }
    }
  });

  it("is 0 for hidden keys, even where they hold NaN", () => {
    const input = sample(13);
    const upstream = new Sampler(14).normals(4 * 9 * 3);
    const dirty = { ...input, key: input.key.slice(), value: input.value.slice() };
    dirty.key.fill(Number.NaN, 3 * 5, 4 * 5);
    dirty.value.fill(Number.NaN, 3 * 3, 4 * 3);
    const clean = backward(input, shape, upstream);
    expect(backward(dirty, shape, upstream)).toEqual(clean);
    expect(clean.key.subarray(3 * 5, 4 * 5)).toEqual(new Float64Array(5));
    expect(clean.keyLogScale[3]).toBe(0);
  });

  it("is finite, and shift invariant, at log scales that exp cannot represent", () => {
    const input = sample(15);
    const upstream = new Sampler(16).normals(4 * 9 * 3);
    const shifted = { ...input, keyLogScale: input.keyLogScale.map((x) => x + 2000) };
    const expected = backward(input, shape, upstream);
    const actual = backward(shifted, shape, upstream);
    for (const name of ["query", "value", "keyLogScale"] as const) {
      actual[name].forEach((x, i) => expect(x).toBeCloseTo(expected[name][i]!, 8));
    }
    const steep = { ...input, keyLogScale: Float64Array.from({ length: 18 }, (_, j) => 700 * (j % 9)) };
    expect(backward(steep, shape, upstream).key.every(Number.isFinite)).toBe(true);
  });
});

it("the causal gradient does not depend on the chunk", () => {
  const input = sample(17);
  const upstream = new Sampler(18).normals(4 * 9 * 3);
  const one = causalLinearAttentionBackward(input, shape, upstream, { chunk: 1 });
  const all = causalLinearAttentionBackward(input, shape, upstream);
  for (const name of ["query", "key", "value", "keyLogScale"] as const) {
    all[name].forEach((x, i) => expect(x).toBeCloseTo(one[name][i]!, 11));
  }
});
