import { describe, expect, it } from "vitest";

import { blockLogMask, chooseBlocks, exactRanges, resolveExactKeys } from "../../src/attention/hybrid/exact-keys.ts";
import { exactSample, hybridSample } from "../../src/calibration/index.ts";
import { RandomStream, streamPurpose } from "../../src/random/stream.ts";

const dim = 4;
const keys = 320;
const stream = new RandomStream({ seed: 3, purpose: streamPurpose.trials });
const query = stream.gaussians(keys * dim).map((value) => 2 * value);
const key = stream.gaussians(keys * dim).map((value) => 2 * value);
const rowsAt = (rows: Uint32Array): Float64Array =>
  Float64Array.from([...rows].flatMap((row) => [...query.subarray(row * dim, (row + 1) * dim)]));
const blocks = (numbers: readonly number[], width: number): Uint32Array =>
  Uint32Array.from(numbers.flatMap((block) => Array.from({ length: width }, (_, i) => block * width + i)));

const exactKeys = { window: 16, chosenBlocks: 3 };
const sample = (positions: Uint32Array, causal = false): unknown =>
  hybridSample([{ query: query.subarray(0, positions.length * dim), key, positions }], dim, { exactKeys, causal });

describe("an input of some queries", () => {
  it.each([false, true])("has the exact keys and attention of the whole, causal: %s", (causal) => {
    // In causal attention the block before chooses.
    const positions = causal ? blocks([0, 1, 2, 3, 4, 5, 6, 7], 16) : blocks([2, 7, 11, 19], 16);
    const { inputs } = hybridSample([{ query: rowsAt(positions), key, positions }], dim, { exactKeys, causal });
    const exact = resolveExactKeys(exactKeys, { queries: keys, keys }, undefined, causal);
    const chosen = chooseBlocks(query, key, dim, exact, blockLogMask(keys, undefined, exact.first));
    expect(inputs).toHaveLength(1);
    const { attended, exact: ranges, attention } = inputs[0]!;
    expect(attended).toHaveLength(positions.length);
    for (const [i, position] of positions.entries()) {
      const block = Math.floor(position / 16);
      const end = causal ? position + 1 : keys;
      const expected = exactRanges(exact, chosen[block], block, keys).flatMap((at, n, all) =>
        n % 2 === 0 && at < end ? [at, Math.min(end, all[n + 1]!)] : [],
      );
      expect(ranges![i]).toEqual(expected);
      const logits = Float64Array.from({ length: end }, (_, j) => {
        let sum = 0;
        for (let l = 0; l < dim; l++) sum += query[position * dim + l]! * key[j * dim + l]!;
        return Math.exp(sum);
      });
      const total = logits.reduce((sum, value) => sum + value, 0);
      for (let j = 0; j < end; j++) expect(attention[i * keys + j]).toBeCloseTo(logits[j]! / total, 12);
    }
  });

  it("needs the whole blocks that choose, and places in ascending order", () => {
    expect(() => sample(Uint32Array.of(33, 34, 35))).toThrow(/queries 32 to 47, which choose blocks/);
    expect(() => sample(blocks([7], 16), true)).toThrow(/queries 96 to 111, which choose blocks/);
    expect(() => sample(Uint32Array.of(5, 5))).toThrow(/positions\[1\]/);
    expect(() => sample(Uint32Array.of(320))).toThrow(/positions\[0\]/);
  });

  it("may be in float32, for the same sample as its numbers in float64", () => {
    const [query32, key32] = [Float32Array.from(query), Float32Array.from(key)];
    const inFloat32 = hybridSample([{ query: query32, key: key32 }], dim, { exactKeys });
    const widened = [{ query: Float64Array.from(query32), key: Float64Array.from(key32) }];
    expect(inFloat32).toEqual(hybridSample(widened, dim, { exactKeys }));
    expect(exactSample([{ query: query32, key: key32 }], dim)).toEqual(exactSample(widened, dim));
  });
});
