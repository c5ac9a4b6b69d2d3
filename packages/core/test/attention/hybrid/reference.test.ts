import { describe, expect, it } from "vitest";
import {
  averagedQueries,
  createFeatureMap,
  exactAttention,
  favorAttention,
  favorCausalAttention,
  hybridAttention,
  startHybrid,
  stepHybrid,
} from "../../../src/index.ts";
import type { HybridAttentionOptions } from "../../../src/index.ts";
import { kinds, single } from "../float64-gradients.ts";
import { relativeError, Sampler } from "../samples.ts";

const dim = 4;
const valueDim = 3;
const size = { ...single, dim, valueDim, count: 8 };
const featureMap = createFeatureMap(kinds.landmark(size));
const random = createFeatureMap(kinds.calibrated(size));
const window = 4;

function draw(rows: number, seed: number, scale = 0.8) {
  const sampler = new Sampler(seed);
  const numbers = (width: number, factor: number) => sampler.normals(rows * width, factor);
  return { query: numbers(dim, scale), key: numbers(dim, scale), value: numbers(valueDim, 1) };
}

function rowsOf(x: Float64Array, width: number, order: readonly number[]): Float64Array {
  return Float64Array.from(order.flatMap((row) => Array.from(x.subarray(row * width, (row + 1) * width))));
}

/** The definition, key by key: `exact(i, j)` says which are exact; the rest is phi_q.phi_k as it is, unstabilised. */
function dense(
  { query, key, value }: ReturnType<typeof draw>,
  map: typeof featureMap | undefined,
  exact: (i: number, j: number) => boolean,
  seen: (i: number, j: number) => boolean = () => true,
): Float64Array {
  const [queries, keys] = [query.length / dim, key.length / dim];
  const phiQuery = map?.query(query);
  const phiKey = map?.key(key);
  const count = map?.count ?? 0;
  const out = new Float64Array(queries * valueDim);
  for (let i = 0; i < queries; i++) {
    let total = 0;
    for (let j = 0; j < keys; j++) {
      if (!seen(i, j)) continue;
      let weight = 0;
      if (exact(i, j)) {
        let logit = 0;
        for (let l = 0; l < dim; l++) logit += query[i * dim + l]! * key[j * dim + l]!;
        weight = Math.exp(logit);
      } else for (let m = 0; m < count; m++) weight += phiQuery![i * count + m]! * phiKey![j * count + m]!;
      total += weight;
      for (let c = 0; c < valueDim; c++) out[i * valueDim + c]! += weight * value[j * valueDim + c]!;
    }
    for (let c = 0; c < valueDim; c++) out[i * valueDim + c]! /= total;
  }
  return out;
}

describe("hybrid attention in float64", () => {
  const rows = 30;
  const input = draw(rows, 1);
  const { query, key, value } = input;
  const base = { dim, valueDim, featureMap, window } as const;
  const blockOf = (row: number) => Math.floor(row / window);
  const isNearOrPlaced = (i: number, j: number) => {
    const chosen = [6, 1, 2, 0, 3, 4, 5, 7].filter((block) => Math.abs(block - blockOf(i)) > 1).slice(0, 2);
    return isNear(i, j) || chosen.includes(blockOf(j));
  };
  const fromFifth = (i: number, j: number) => j === 5 || Math.abs(blockOf(i) - blockOf(j)) <= 1;
  const attend = (options: object) => () => hybridAttention(query, key, value, { ...base, ...options });
  const isNear = (i: number, j: number) => j === 0 || Math.abs(blockOf(i) - blockOf(j)) <= 1;

  it.each([
    ["landmark", featureMap],
    ["calibrated", random],
    ["dropped", undefined],
  ] as const)("is its definition, far field %s", (_, map) => {
    const options = { dim, valueDim, window, ...(map && { featureMap: map }) };
    const actual = hybridAttention(query, key, value, options);
    expect(relativeError(actual, dense(input, map, isNear))).toBeLessThan(1e-12);
    const causal = hybridAttention(query, key, value, { ...options, causal: true });
    expect(
      relativeError(
        causal,
        dense(input, map, isNear, (i, j) => j <= i),
      ),
    ).toBeLessThan(1e-12);
  });

  it("chooses by the selector, and never a near block", () => {
    // scores by place, which a real selector must not use: 6 and 1 are chosen unless they are near
    const selector = { prepare: () => () => Float64Array.of(1, 5, 2, 1, 1, 0, 9, 0) };
    const actual = hybridAttention(query, key, value, { ...base, chosenBlocks: 2, selector });
    expect(relativeError(actual, dense(input, featureMap, isNearOrPlaced))).toBeLessThan(1e-12);
  });

  it("the default selector finds the block that the queries look for", () => {
    // keys 20 to 23 answer the first block's queries; the others of these are far and weak
    const peaked = draw(rows, 3, 0.1);
    for (let row = 0; row < 4; row++) for (let l = 0; l < dim; l++) peaked.query[row * dim + l]! += 2;
    for (let row = 20; row < 24; row++) for (let l = 0; l < dim; l++) peaked.key[row * dim + l]! += 2;
    const { query: q, key: k, value: v } = peaked;
    const chosen = hybridAttention(q, k, v, { dim, valueDim, window, chosenBlocks: 1 });
    const exact = dense(
      peaked,
      undefined,
      (i, j) => isNear(i, j) || blockOf(j) === 5,
      (i, j) => isNear(i, j) || blockOf(j) === 5,
    );
    expect(relativeError(chosen.subarray(0, 4 * valueDim), exact.subarray(0, 4 * valueDim))).toBeLessThan(1e-12);
  });

  it.each([false, true])(
    "equals exact attention if the near field or the chosen blocks cover all, causal: %s",
    (causal) => {
      const exact = exactAttention(query, key, value, { dim, valueDim, causal });
      for (const options of [{ window: rows }, { window: 1000 }, { window, chosenBlocks: 8 }]) {
        const hybrid = hybridAttention(query, key, value, { ...base, ...options, causal });
        expect(relativeError(hybrid, exact)).toBeLessThan(1e-12);
      }
    },
  );

  it("equals FAVOR if no key is exact", () => {
    const favor = favorAttention(query, key, value, { featureMap, valueDim });
    for (const options of [{ window: 0 }, { window, near: false }]) {
      expect(relativeError(hybridAttention(query, key, value, { ...base, ...options }), favor)).toBeLessThan(1e-12);
    }
    const causal = hybridAttention(query, key, value, { ...base, window: 0, causal: true });
    expect(relativeError(causal, favorCausalAttention(query, key, value, { featureMap, valueDim }))).toBeLessThan(
      1e-12,
    );
  });

  it("does not depend on the order of far blocks, nor of the keys within them", () => {
    // Only the queries of block 0 are compared: the others' near field moves with the keys.
    const order = [
      0, 1, 2, 3, 4, 5, 6, 7, 22, 20, 21, 23, 27, 26, 25, 24, 12, 13, 14, 15, 8, 11, 9, 10, 17, 16, 19, 18, 28, 29,
    ];
    const options = { ...base, chosenBlocks: 2 };
    const before = hybridAttention(query, key, value, options).subarray(0, window * valueDim);
    const after = hybridAttention(query, rowsOf(key, dim, order), rowsOf(value, valueDim, order), options);
    expect(relativeError(after.subarray(0, window * valueDim), before)).toBeLessThan(1e-12);
  });

  it("does not depend on padding, whatever it holds", () => {
    const options = { ...base, chosenBlocks: 2 };
    const before = hybridAttention(query, key, value, options);
    for (const filler of [0, 50, NaN]) {
      const pad = (x: Float64Array, width: number) => Float64Array.of(...x, ...Array<number>(11 * width).fill(filler));
      const keyMask = Array.from({ length: rows + 11 }, (_, i) => (i < rows ? 1 : 0));
      const padded = hybridAttention(pad(query, dim), pad(key, dim), pad(value, valueDim), { ...options, keyMask });
      expect(padded.subarray(0, rows * valueDim)).toEqual(before);
    }
  });

  it("takes the first shown key for the first, and masks between 0 and 1", () => {
    const keyMask = Array.from({ length: rows }, (_, i) => (i < 5 ? 0 : i % 3 === 0 ? 0.5 : 1));
    const everything = { ...base, chosenBlocks: 8, keyMask };
    const exact = exactAttention(query, key, value, { dim, valueDim, keyMask });
    expect(relativeError(hybridAttention(query, key, value, everything), exact)).toBeLessThan(1e-12);
    const shown = Array.from({ length: rows }, (_, i) => (i < 5 ? 0 : 1));
    const dropped = hybridAttention(query, key, value, { ...base, keyMask: shown });
    expect(
      relativeError(
        dropped,
        dense(input, featureMap, fromFifth, (_, j) => j >= 5),
      ),
    ).toBeLessThan(1e-12);
  });

  it("attends across sequences without a near field", () => {
    const few = draw(7, 5);
    const options: HybridAttentionOptions = { ...base, near: false, chosenBlocks: 8 };
    const exact = exactAttention(few.query, key, value, { dim, valueDim });
    expect(relativeError(hybridAttention(few.query, key, value, options), exact)).toBeLessThan(1e-12);
    const oneBlock = hybridAttention(few.query, key, value, { ...options, chosenBlocks: 1 });
    expect(relativeError(oneBlock, exact)).toBeGreaterThan(1e-3);
    expect(() => hybridAttention(few.query, key, value, base)).toThrow("near: false");
  });

  it.each([false, true])(
    "causal rows depend on no later row, to the bit, and stepping gives the same, chosen: %s",
    (choose) => {
      const options = { ...base, chosenBlocks: choose ? 2 : 0, causal: true };
      const keyMask = Array.from({ length: rows }, (_, i) => (i === 0 || i === 9 ? 0 : 1));
      const full = hybridAttention(query, key, value, { ...options, keyMask });
      const state = startHybrid({ featureMap, valueDim, window, chosenBlocks: options.chosenBlocks });
      for (let i = 0; i < rows; i++) {
        const prefix = hybridAttention(
          query.subarray(0, (i + 1) * dim),
          key.subarray(0, (i + 1) * dim),
          value.subarray(0, (i + 1) * valueDim),
          { ...options, keyMask: keyMask.slice(0, i + 1) },
        );
        const row = full.subarray(i * valueDim, (i + 1) * valueDim);
        expect(prefix.subarray(i * valueDim)).toEqual(row);
        const [token, next] = [i, i + 1];
        const step = stepHybrid(state, {
          query: query.subarray(token * dim, next * dim),
          key: key.subarray(token * dim, next * dim),
          value: value.subarray(token * valueDim, next * valueDim),
          keep: keyMask[i]!,
        });
        expect(relativeError(step, row)).toBeLessThan(1e-11);
      }
    },
  );

  it("stays finite for logits of 200 and more, and equals exact attention there", () => {
    const large = draw(rows, 9, 12);
    const exact = exactAttention(large.query, large.key, large.value, { dim, valueDim });
    const hybrid = hybridAttention(large.query, large.key, large.value, {
      ...base,
      featureMap: random,
      chosenBlocks: 1,
    });
    expect(hybrid.every(Number.isFinite)).toBe(true);
    const all = hybridAttention(large.query, large.key, large.value, { ...base, chosenBlocks: 8 });
    expect(relativeError(all, exact)).toBeLessThan(1e-12);
  });

  it("names arguments that do not fit", () => {
    expect(attend({ window: 0, chosenBlocks: 1 })).toThrow("options.window");
    expect(attend({ window: -1 })).toThrow("options.window");
    expect(attend({ selector: averagedQueries, chosenBlocks: 1 })).toThrow("options.selector");
    expect(attend({ featureMap: createFeatureMap({ version: 1, kind: "elu", dim }) })).toThrow("description.kind");
    expect(attend({ featureMap: createFeatureMap(kinds.landmark({ ...size, dim: 5 })) })).toThrow("featureMap.dim");
    expect(() => hybridAttention(query, key, value, { dim, valueDim, window: 0 })).toThrow("no key is exact");
    expect(() => averagedQueries({ group: 0 })).toThrow("group");
  });
});
