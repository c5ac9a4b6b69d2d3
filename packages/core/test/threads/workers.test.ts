import * as fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import {
  ArgumentError,
  createKernels,
  createWorkers,
  exactAttention32,
  exponentialFeatures32,
  exponentialForm,
  favorAttention32,
} from "../../src/index.ts";
import type { AttentionShape, AttentionWorkers } from "../../src/index.ts";
import { runnableKernels } from "../kernels/engine.ts";
import { Sampler } from "../attention/samples.ts";

const cases = fc.record({
  group: fc.integer({ min: 1, max: 2 }),
  keyHeads: fc.integer({ min: 1, max: 5 }),
  rows: fc.constantFrom(0, 1, 65, 130),
  dim: fc.integer({ min: 1, max: 9 }),
  valueDim: fc.integer({ min: 1, max: 9 }),
  causal: fc.boolean(),
  masked: fc.boolean(),
  shared: fc.boolean(),
  seed: fc.nat(1e6),
});
type Case = typeof cases extends fc.Arbitrary<infer T> ? T : never;

function draw({ group, keyHeads, rows, dim, valueDim, causal, masked, shared, seed }: Case, workers: AttentionWorkers) {
  const sampler = new Sampler(seed);
  const shape: AttentionShape = { heads: group * keyHeads, keyHeads, queryRows: rows, keyRows: rows, dim, valueDim };
  const array = (length: number): Float32Array => {
    const place = shared ? workers.allocate(length) : new Float32Array(length);
    place.set(sampler.normals(length));
    return place;
  };
  const query = array(shape.heads * rows * dim);
  const key = array(keyHeads * rows * dim);
  const value = array(keyHeads * rows * valueDim);
  const features = Array.from({ length: keyHeads }, (_, head) =>
    exponentialFeatures32(
      exponentialForm({ version: 1, kind: "positive", projection: { kind: "orthogonal", count: 11, dim, seed, head } }),
    ),
  );
  const options = { causal, ...(masked && { keyMask: Array.from({ length: rows }, () => sampler.uniform() * 2) }) };
  return { query, key, value, shape, features, options };
}

const small: Case = {
  group: 1,
  keyHeads: 3,
  rows: 65,
  dim: 4,
  valueDim: 4,
  causal: false,
  masked: false,
  shared: false,
  seed: 1,
};

describe.each(runnableKernels)("workers, simd: %s", (simd) => {
  const kernels = createKernels({ simd });
  const workers = createWorkers({ threads: 3, simd });
  afterAll(() => workers.close());

  it("give what one thread gives, to the bit", async () => {
    expect(workers.kind).toBe(kernels.kind);
    await fc.assert(
      fc.asyncProperty(cases, async (each) => {
        const { query, key, value, shape, features, options } = draw(each, workers);
        const favor = await workers.favorAttention32(query, key, value, shape, features, options);
        expect(new Float32Array(favor)).toEqual(favorAttention32(kernels, query, key, value, shape, features, options));
        const exact = await workers.exactAttention32(query, key, value, shape, options);
        expect(new Float32Array(exact)).toEqual(exactAttention32(kernels, query, key, value, shape, options));
      }),
      { numRuns: 25, seed: 1 },
    );
  });
});

describe("workers", () => {
  it("copy where there is no shared memory", async () => {
    const shared = globalThis.SharedArrayBuffer;
    Reflect.deleteProperty(globalThis, "SharedArrayBuffer");
    const workers = createWorkers({ threads: 2, simd: "strict" });
    try {
      expect(workers.sharedMemory).toBe(false);
      const { query, key, value, shape } = draw(small, workers);
      const copies = [query, key, value].map((array) => array.slice());
      const result = await workers.exactAttention32(query, key, value, shape);
      expect(result).toEqual(exactAttention32(createKernels({ simd: "strict" }), query, key, value, shape));
      expect(result.buffer).toBeInstanceOf(ArrayBuffer);
      // nothing of the caller's was handed over
      expect([query, key, value]).toEqual(copies);
    } finally {
      workers.close();
      globalThis.SharedArrayBuffer = shared;
    }
  });

  it("run calls side by side, each with its own result", async () => {
    const workers = createWorkers({ threads: 2 });
    const drawn = [1, 2, 3, 4].map((seed) => draw({ ...small, seed }, workers));
    const results = await Promise.all(
      drawn.map(({ query, key, value, shape, features }) =>
        workers.favorAttention32(query, key, value, shape, features),
      ),
    );
    const kernels = createKernels();
    for (const [index, { query, key, value, shape, features }] of drawn.entries()) {
      expect(new Float32Array(results[index]!)).toEqual(favorAttention32(kernels, query, key, value, shape, features));
    }
    workers.close();
  });

  it("reject wrong arguments by name, and go on", async () => {
    const workers = createWorkers({ threads: 1 });
    const { query, key, value, shape, features } = draw(small, workers);
    await expect(workers.favorAttention32(query.subarray(1), key, value, shape, features)).rejects.toThrow("query:");
    await expect(workers.favorAttention32(query, key, value, shape, features.slice(1))).rejects.toThrow("features:");
    await expect(workers.exactAttention32(query, key, value, shape, { scale: NaN })).rejects.toThrow(ArgumentError);
    const short = { ...shape, queryRows: shape.queryRows - 1 };
    const fewer = query.subarray(0, 3 * 64 * 4);
    await expect(workers.favorAttention32(fewer, key, value, short, features, { causal: true })).rejects.toThrow(
      "shape.keyRows:",
    );
    expect((await workers.exactAttention32(query, key, value, shape)).length).toBe(query.length);
    workers.close();
  });

  it("closed, reject what is under way and what comes later", async () => {
    const workers = createWorkers({ threads: 2 });
    const { query, key, value, shape } = draw(small, workers);
    const underWay = workers.exactAttention32(query, key, value, shape);
    workers.close();
    workers.close();
    await expect(underWay).rejects.toMatchObject({ code: "workers-closed" });
    await expect(workers.exactAttention32(query, key, value, shape)).rejects.toMatchObject({ code: "workers-closed" });
  });

  it.each([0, 1.5, NaN])("refuse %s threads", (threads) => {
    expect(() => createWorkers({ threads })).toThrow(ArgumentError);
  });
});
