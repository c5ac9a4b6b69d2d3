import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  createFeatureMap,
  createKernels,
  exactAttention,
  exactAttention32,
  exponentialFeatures32,
  exponentialForm,
  favorAttention,
  favorAttention32,
  favorCausalAttention,
} from "../../src/index.ts";
import { sparseAttention } from "../../src/comparison/index.ts";
import type { FeatureMap32, FeatureMap } from "../../src/index.ts";
import { runnableKernels } from "../kernels/engine.ts";
import { Sampler } from "./samples.ts";

/** Sizes at their edges: no, one, some rows; d of 1, odd, large; M below d, above it, no multiple of it. */
const cases = fc.record({
  rows: fc.constantFrom(0, 1, 2, 17, 70),
  dim: fc.constantFrom(1, 2, 3, 7, 33, 256),
  count: fc.constantFrom(1, 2, 5, 40),
  valueDim: fc.constantFrom(1, 3, 8),
  seed: fc.nat(2),
});
type Case = typeof cases extends fc.Arbitrary<infer T> ? T : never;

interface Input {
  readonly query: Float64Array;
  readonly key: Float64Array;
  readonly value: Float64Array;
  readonly keyMask?: readonly number[];
}

/** Attention of one head, self, by one of the ways of this package. */
interface Method {
  readonly name: string;
  readonly causal: boolean;
  readonly attend: (input: Input, size: Case) => ArrayLike<number>;
}

/** Positive features; kept, because a projection of 256 columns takes longer to draw than all that is tested with it. */
const kept = new Map<string, { readonly featureMap: FeatureMap; readonly features: FeatureMap32 }>();
function positive({ count, dim, seed }: Case) {
  const projection = { kind: "orthogonal", count, dim, seed } as const;
  const name = JSON.stringify(projection);
  const description = { version: 1, kind: "positive", projection } as const;
  const found = kept.get(name) ?? {
    featureMap: createFeatureMap(description),
    features: exponentialFeatures32(exponentialForm(description)),
  };
  kept.set(name, found);
  return found;
}

const narrow = ({ query, key, value }: Input) =>
  [query, key, value].map((array) => Float32Array.from(array)) as [Float32Array, Float32Array, Float32Array];
const shapeOf = ({ rows, dim, valueDim }: Case) => ({ heads: 1, queryRows: rows, keyRows: rows, dim, valueDim });

const methods: Method[] = [false, true].flatMap((causal): Method[] => [
  {
    name: "exact",
    causal,
    attend: ({ query, key, value, ...mask }, { dim, valueDim }) =>
      exactAttention(query, key, value, { dim, valueDim, causal, ...mask }),
  },
  {
    name: "FAVOR",
    causal,
    attend({ query, key, value, ...mask }, size) {
      const attend = causal ? favorCausalAttention : favorAttention;
      return attend(query, key, value, { featureMap: positive(size).featureMap, valueDim: size.valueDim, ...mask });
    },
  },
  {
    name: "sparse",
    causal,
    attend: ({ query, key, value, ...mask }, { dim, valueDim }) =>
      sparseAttention(query, key, value, {
        dim,
        valueDim,
        causal,
        pattern: { kind: "strided", stride: 1000 },
        ...mask,
      }),
  },
  ...runnableKernels.flatMap((simd): Method[] => {
    const kernels = createKernels({ simd });
    const optionsOf = ({ keyMask }: Input) => ({ causal, ...(keyMask && { keyMask }) });
    return [
      {
        name: `exact32 ${simd}`,
        causal,
        attend: (input, size) =>
          exactAttention32(kernels, ...narrow(input), shapeOf(size), { scale: 1, ...optionsOf(input) }),
      },
      {
        name: `FAVOR32 ${simd}`,
        causal,
        attend(input, size) {
          const { features } = positive(size);
          return favorAttention32(kernels, ...narrow(input), shapeOf(size), features, optionsOf(input));
        },
      },
    ];
  }),
]);

function draw({ rows, dim, valueDim, seed }: Case, scale: number): Input {
  const sampler = new Sampler(seed);
  return {
    query: sampler.normals(rows * dim, scale),
    key: sampler.normals(rows * dim, scale),
    value: sampler.normals(rows * valueDim),
  };
}

describe.each(methods)("$name, causal: $causal", ({ name, causal, attend }) => {
  it("is a mean of the values it sees, from tiny to huge norms", () => {
    fc.assert(
      fc.property(cases, fc.constantFrom(0, 1e-30, 1e-8, 0.3, 30, 1e4, 1e8), (size, scale) => {
        const input = draw(size, scale);
        const out = attend(input, size);
        expect(out.length).toBe(size.rows * size.valueDim);
        const largest = Math.max(0, ...input.value.map(Math.abs));
        // NaN would fail this, too
        for (const x of Array.from(out)) expect(Math.abs(x) <= largest * (1 + 1e-4)).toBe(true);
      }),
      { numRuns: 20, seed: 1 },
    );
  });

  it("of vectors of 0 is the plain mean", () => {
    fc.assert(
      fc.property(cases, (size) => {
        const input = draw(size, 0);
        const out = attend(input, size);
        for (let i = 0; i < size.rows; i++) {
          const seen = causal ? i + 1 : size.rows;
          for (let c = 0; c < size.valueDim; c++) {
            let mean = 0;
            for (let j = 0; j < seen; j++) mean += input.value[j * size.valueDim + c]! / seen;
            expect(out[i * size.valueDim + c]).toBeCloseTo(mean, 5);
          }
        }
      }),
      { numRuns: 8, seed: 2 },
    );
  });

  it("gives 0 to rows that see no key", () => {
    fc.assert(
      fc.property(cases, fc.double({ min: 0, max: 1, noNaN: true }), (size, part) => {
        const shown = causal ? Math.ceil(part * size.rows) : size.rows;
        const keyMask = Array.from({ length: size.rows }, (_, j) => (j < shown ? 0 : 1));
        const out = attend({ ...draw(size, 1), keyMask }, size);
        expect(
          Array.from(out)
            .slice(0, shown * size.valueDim)
            .every((x) => x === 0),
        ).toBe(true);
      }),
      { numRuns: 12, seed: 3 },
    );
  });

  it("makes NaN of every number that a NaN reaches, and changes no other", () => {
    fc.assert(
      fc.property(cases, fc.constantFrom("query", "key", "value"), fc.nat(1e6), (size, where, place) => {
        fc.pre(size.rows > 0);
        const clean = draw(size, 0.5);
        const array = clean[where].slice();
        const at = place % array.length;
        array[at] = Number.NaN;
        const row = Math.floor(at / (where === "value" ? size.valueDim : size.dim));
        const before = attend(clean, size);
        const wrong: string[] = [];
        const after = attend({ ...clean, [where]: array }, size);
        for (let i = 0; i < size.rows; i++) {
          const reached = where === "query" ? i === row : !causal || i >= row;
          for (let c = 0; c < size.valueDim; c++) {
            const now = after[i * size.valueDim + c]!;
            const must = reached && (where !== "value" || c === at % size.valueDim);
            // exact32 says that it spoils the rows of the tile before, causally
            const may = reached || name.startsWith("exact32");
            const right = must
              ? Number.isNaN(now)
              : now === before[i * size.valueDim + c] || (may && Number.isNaN(now));
            if (!right) wrong.push(`row ${i}, column ${c}: ${now}`);
          }
        }
        expect(wrong).toEqual([]);
      }),
      { numRuns: 30, seed: 4 },
    );
  });
});
