import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  createFeatureMap,
  createKernels,
  createProjection,
  drawProjection,
  exponentialFeatures32,
  exponentialForm,
  favorAttention,
  favorAttention32,
  favorCausalAttention,
} from "@favor/core";
import type { FeatureMap } from "@favor/core";

// What performer-pytorch and google-research's definitions compute, from golden/make.py.
const file = (name: string) => readFileSync(new URL(`../../golden/${name}`, import.meta.url));
interface Golden {
  readonly shape: { readonly heads: number; readonly rows: number; readonly dim: number };
  readonly mask: readonly number[];
  readonly query: readonly number[];
  readonly key: readonly number[];
  readonly keyWithLastLarge: readonly number[];
  readonly value: readonly number[];
  readonly outputs: Readonly<Record<"performer-pytorch" | "google-research", Readonly<Record<string, number[]>>>>;
}
const golden = JSON.parse(file("attention.json").toString()) as Golden;
const { heads, rows, dim } = golden.shape;
const theirs = golden.outputs["performer-pytorch"];
const google = golden.outputs["google-research"];

const version = 1;
const projection = { kind: "orthogonal", count: 12, dim, seed: 1 } as const;
const positive = createFeatureMap({ version, kind: "positive", projection });

/** Ours, in float64, for every head; q and k times dim^(-1/4), as theirs do themselves. */
function ours(
  featureMap: FeatureMap,
  {
    query = golden.query,
    key = golden.key,
    value = golden.value,
    causal = false,
    keyMask = undefined as number[] | undefined,
  },
): Float64Array {
  const out = new Float64Array(heads * rows * dim);
  const size = rows * dim;
  for (let head = 0; head < heads; head++) {
    const of = (array: readonly number[], factor: number) =>
      Float64Array.from(array.slice(head * size, (head + 1) * size), (x) => x * factor);
    const root = dim ** -0.25;
    const attend = causal ? favorCausalAttention : favorAttention;
    const options = { featureMap, ...(keyMask && { keyMask }) };
    out.set(attend(of(query, root), of(key, root), of(value, 1), options), head * size);
  }
  return out;
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  return Array.from(a, (x, i) => Math.abs(x - b[i]!)).reduce((x, y) => Math.max(x, y));
}

it("the fixture is the one that was made", () => {
  const [sum] = file("SHA256SUMS").toString().split(" ");
  expect(createHash("sha256").update(file("attention.json")).digest("hex")).toBe(sum);
});

it("the projection that theirs were given is ours, to the bit", () => {
  expect(JSON.parse(file("projection.json").toString())).toEqual([...drawProjection(projection)]);
});

describe("the same q, k, v and projection give the same output", () => {
  it.each([false, true])("positive features, causal: %s", (causal) => {
    const name = causal ? "positive, causal" : "positive";
    const expected = ours(positive, { causal });
    expect(largestDifference(expected, google[name]!)).toBeLessThan(1e-6);
    expect(largestDifference(expected, theirs[name]!)).toBeLessThan(1e-5);
  });

  it.each([false, true])("positive features on the float32 kernels, causal: %s", (causal) => {
    const [query, key, value] = [golden.query, golden.key, golden.value].map((x) => Float32Array.from(x));
    const features = exponentialFeatures32(exponentialForm({ version, kind: "positive", projection }), {
      scale: dim ** -0.5,
    });
    const shape = { heads, queryRows: rows, keyRows: rows, dim };
    const out = favorAttention32(createKernels(), query!, key!, value!, shape, features, { causal });
    expect(largestDifference(out, google[causal ? "positive, causal" : "positive"]!)).toBeLessThan(1e-5);
  });

  it.each([false, true])("ReLU features, causal: %s", (causal) => {
    const featureMap = createFeatureMap({ version, kind: "generalized", projection, function: "relu" });
    for (const source of [theirs, google]) {
      const name = causal ? "relu, causal" : "relu";
      expect(largestDifference(ours(featureMap, { causal }), source[name]!)).toBeLessThan(1e-5);
    }
  });

  it.each([false, true])("sine and cosine features, causal: %s", (causal) => {
    const name = causal ? "sine and cosine, causal" : "sine and cosine";
    const actual = ours(createFeatureMap({ version, kind: "trigonometric", variant: "pair", projection }), { causal });
    // a normaliser of signed features can come near 0: the error is relative to what it is divided by
    const scale = google[name]!.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    expect(largestDifference(actual, google[name]!) / scale).toBeLessThan(1e-6);
  });

  it("what they add to the features is a small difference", () => {
    const expected = ours(positive, {});
    expect(largestDifference(expected, google["positive, as shipped"]!)).toBeLessThan(1e-3);
    expect(largestDifference(expected, theirs["positive, as shipped"]!)).toBeLessThan(0.1);
  });
});

describe("where they are wrong, we are not", () => {
  it("padding masks the values alone: their normaliser counts hidden keys, ours does not", () => {
    const masked = theirs["masked, q = k = v = query"]!;
    const { query } = golden;
    const hidden = query.map((x, i) => (golden.mask[Math.floor(i / dim) % rows] === 0 ? 0 : x));
    // theirs is attention to all keys, with values of 0
    expect(largestDifference(ours(positive, { key: query, value: hidden }), masked)).toBeLessThan(1e-5);
    // ours is attention to the visible keys: nothing else is different when the others are not there at all
    const actual = ours(positive, { key: query, value: query, keyMask: [...golden.mask] });
    const visible = golden.mask.filter((mask) => mask === 1).length;
    for (let head = 0; head < heads; head++) {
      const take = (length: number) =>
        Float64Array.from(query.slice(head * rows * dim, (head * rows + length) * dim), (x) => x * dim ** -0.25);
      const shown = take(visible).map((x) => x * dim ** 0.25);
      const cut = favorAttention(take(rows), take(visible), shown, { featureMap: positive });
      expect(largestDifference(cut, actual.subarray(head * rows * dim, (head + 1) * rows * dim))).toBeLessThan(1e-12);
    }
    expect(largestDifference(actual, masked)).toBeGreaterThan(0.1);
  });

  it("the stabiliser of causal attention sees later keys: a large last key changes their first rows, not ours", () => {
    const size = rows * dim;
    const before = Array.from({ length: heads * size }, (_, i) => i).filter((i) => i % size < size - dim);
    const change = (a: ArrayLike<number>, b: ArrayLike<number>) =>
      Math.max(...before.map((i) => Math.abs(a[i]! - b[i]!)));
    expect(change(theirs["causal, as shipped"]!, theirs["causal, as shipped, last key large"]!)).toBeGreaterThan(0.1);
    const plain = ours(positive, { causal: true });
    const large = ours(positive, { causal: true, key: golden.keyWithLastLarge });
    expect(change(plain, large)).toBe(0);
    expect(largestDifference(plain, large)).toBeGreaterThan(0);
  });

  it("their products of Givens rotations are not orthogonal, ours are", () => {
    const departure = (matrix: ArrayLike<number>) => {
      let largest = 0;
      for (let i = 0; i < dim; i++) {
        for (let j = 0; j < dim; j++) {
          let product = i === j ? -1 : 0;
          for (let l = 0; l < dim; l++) product += matrix[i * dim + l]! * matrix[j * dim + l]!;
          largest = Math.max(largest, Math.abs(product));
        }
      }
      return largest;
    };
    expect(departure(google["givens, 8 x 8"]!)).toBeGreaterThan(0.1);
    const mine = createProjection({ kind: "givens", count: dim, dim, seed: 0, norms: "sqrt-dim" }).materialize();
    expect(departure(mine.map((x) => x / Math.sqrt(dim)))).toBeLessThan(1e-12);
  });
});
