import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ArgumentError } from "../../src/errors.ts";
import { createKernels } from "../../src/kernels/create.ts";
import type { BlockKernels } from "../../src/kernels/block-kernels.ts";
import { supportsSimd } from "../../src/kernels/webassembly.ts";
import { runnableKernels } from "./engine.ts";
import { relativeError, Sampler } from "../attention/samples.ts";

describe("createKernels", () => {
  it("takes the fastest that the engine runs", () => {
    expect(createKernels().kind).toBe(supportsSimd("relaxed-simd") ? "relaxed-simd" : "simd");
    expect(createKernels({ simd: "strict" }).kind).toBe("simd");
    expect(createKernels({ simd: "off" }).kind).toBe("typescript");
  });

  it.skipIf(supportsSimd("relaxed-simd"))("says so where relaxed SIMD is asked for and missing", () => {
    expect(() => createKernels({ simd: "relaxed" })).toThrow(expect.objectContaining({ code: "simd-unavailable" }));
  });

  it("refuses an unknown choice", () => {
    expect(() => createKernels({ simd: "fast" as "auto" })).toThrow(ArgumentError);
  });

  it.skipIf(!supportsSimd("relaxed-simd"))("runs relaxed SIMD (this engine lacks it)", () => {
    expect(createKernels({ simd: "relaxed" }).kind).toBe("relaxed-simd");
  });
});

/** Calls a kernel on fresh copies of blocks at consecutive places; returns them as they are afterwards. */
function apply(
  kernels: BlockKernels,
  blocks: readonly Float64Array[],
  call: (...offsets: number[]) => void,
): Float32Array[] {
  const offsets: number[] = [];
  let size = 0;
  for (const block of blocks) {
    offsets.push(size);
    size += Math.ceil(block.length / 8) * 8 + 8;
  }
  const heap = kernels.heap(size);
  blocks.forEach((block, i) => heap.set(block, offsets[i]));
  call(...offsets);
  return blocks.map((block, i) => heap.slice(offsets[i], offsets[i]! + block.length));
}

const sizes = fc.record({
  rows: fc.integer({ min: 1, max: 21 }),
  cols: fc.integer({ min: 1, max: 5 }).map((n) => 8 * n),
  depth: fc.integer({ min: 0, max: 19 }),
  accumulate: fc.boolean(),
  seed: fc.integer({ min: 1, max: 1e6 }),
});

const sizesOf = (s: { rows: number; cols: number; depth: number; accumulate: boolean; seed: number }) => ({
  ...s,
  sampler: new Sampler(s.seed),
});

const total = (array: Float64Array) => array.reduce((a, b) => a + b, 0);

const holds = (property: (s: ReturnType<typeof sizesOf>) => void) =>
  fc.assert(
    fc.property(sizes, (s) => property(sizesOf(s))),
    { numRuns: 50, seed: 1 },
  );

describe.each(runnableKernels)("block kernels against float64, simd: %s", (simd) => {
  const kernels = createKernels({ simd });

  it("matmul, A B and A^T B", () => {
    holds(({ rows, cols, depth, accumulate, sampler }) => {
      const a = sampler.normals(rows * depth);
      const b = sampler.normals(depth * cols);
      const c = sampler.normals(rows * cols);
      const expected = c.map((old, index) => {
        let sum = accumulate ? old : 0;
        for (let k = 0; k < depth; k++) {
          sum += a[Math.floor(index / cols) * depth + k]! * b[k * cols + (index % cols)]!;
        }
        return sum;
      });
      const [product] = apply(kernels, [c, a, b], (co, ao, bo) =>
        kernels.matmul({ out: co!, left: ao!, right: bo!, rows, cols, depth, leftRow: depth, accumulate }),
      );
      expect(relativeError(product!, expected)).toBeLessThan(2e-6);
      const transposed = a.map((_, index) => a[(index % rows) * depth + Math.floor(index / rows)]!);
      const [again] = apply(kernels, [c, transposed, b], (co, ao, bo) =>
        kernels.matmulTransposed({ out: co!, left: ao!, right: bo!, rows, cols, depth, leftRow: rows, accumulate }),
      );
      expect(again).toEqual(product);
    });
  });

  it("matmulLower, which reads nothing above the diagonal, and gives a row the same bits whatever follows", () => {
    holds(({ rows, cols, sampler }) => {
      const stride = Math.ceil(rows / 8) * 8;
      const a = sampler.normals(rows * stride);
      for (let i = 0; i < rows; i++) a.fill(Number.NaN, i * stride + i + 1, (i + 1) * stride);
      const b = sampler.normals(rows * cols);
      const c = sampler.normals(rows * cols);
      const expected = c.map((old, index) => {
        const row = Math.floor(index / cols);
        let sum = old;
        for (let k = 0; k <= row; k++) sum += a[row * stride + k]! * b[k * cols + (index % cols)]!;
        return sum;
      });
      const lower = (count: number) =>
        apply(kernels, [c, a, b], (co, ao, bo) =>
          kernels.matmulLower({ out: co!, left: ao!, right: bo!, rows: count, cols, leftRow: stride }),
        )[0]!;
      const all = lower(rows);
      expect(relativeError(all, expected)).toBeLessThan(2e-6);
      const fewer = Math.ceil(rows / 2);
      expect(lower(fewer).subarray(0, fewer * cols)).toEqual(all.subarray(0, fewer * cols));
    });
  });

  it("transpose", () => {
    holds(({ rows, cols, sampler }) => {
      const x = sampler.normals(Math.ceil(rows / 4) * 4 * cols);
      const stride = Math.ceil(rows / 8) * 8;
      const [out] = apply(kernels, [new Float64Array(cols * stride), x], (o, xo) =>
        kernels.transpose(o!, xo!, rows, cols, stride, cols),
      );
      for (let r = 0; r < rows; r++) {
        for (let c = 0; c < cols; c++) expect(out![c * stride + r]).toBe(Math.fround(x[r * cols + c]!));
      }
    });
  });

  it("maxima, sums and scaling", () => {
    holds(({ rows, cols, sampler }) => {
      const x = Float64Array.from(Float32Array.from(sampler.normals(rows * cols)));
      const perRow = Float64Array.from(Float32Array.from(sampler.normals(rows)));
      const perColumn = Float64Array.from(Float32Array.from(sampler.normals(cols)));
      const row = (r: number) => x.subarray(r * cols, (r + 1) * cols);
      const column = (c: number) => Float64Array.from({ length: rows }, (_, r) => x[r * cols + c]!);
      const rowsOf = (f: (old: number, r: number) => number) => perRow.map(f);
      const check = (target: Float64Array, expected: Float64Array, call: (t: number, x: number, w: number) => void) => {
        const weights = target === perColumn ? perRow : perColumn;
        const [actual] = apply(kernels, [target, x, weights], (t, xo, w) => call(t!, xo!, w!));
        actual!.forEach((value, i) => expect(Math.abs(value - expected[i]!)).toBeLessThan(1e-5));
      };
      check(
        perRow,
        rowsOf((old, r) => Math.max(old, ...row(r).map((v, c) => v + perColumn[c]!))),
        (t, xo, w) => kernels.rowMaximum(t, xo, w, rows, cols),
      );
      check(
        perRow,
        rowsOf((old, r) => old + total(row(r).map((v, c) => v * perColumn[c]!))),
        (t, xo, w) => kernels.rowDots(t, xo, w, rows, cols),
      );
      check(
        perRow,
        rowsOf((old, r) => old - total(row(r).map((v) => v * v)) / 2),
        (t, xo) => kernels.subtractHalfNorms(t, xo, rows, cols),
      );
      check(
        perRow,
        rowsOf((old, r) => (r < cols ? old + total(row(r).subarray(0, r + 1)) : old)),
        (t, xo) => kernels.lowerRowSums(t, xo, Math.min(rows, cols), cols),
      );
      check(
        perColumn,
        perColumn.map((old, c) => Math.max(old, ...column(c).map((v, r) => v + perRow[r]!))),
        (t, xo, w) => kernels.columnMaximum(t, xo, w, rows, cols),
      );
      check(
        perColumn,
        perColumn.map((old, c) => old + total(column(c))),
        (t, xo) => kernels.columnSums(t, xo, rows, cols),
      );
      const [scaled] = apply(kernels, [x, perRow], (xo, f) => kernels.scaleRows(xo!, f!, rows, cols));
      scaled!.forEach((v, i) => expect(v).toBeCloseTo(x[i]! * perRow[Math.floor(i / cols)]!, 5));
      const y = sampler.normals(rows * cols);
      const [products] = apply(kernels, [x, y], (xo, yo) => kernels.multiply(xo!, yo!, rows, cols));
      products!.forEach((v, i) => expect(v).toBeCloseTo(x[i]! * y[i]!, 5));
    });
  });

  it("firstRowAbove", () => {
    holds(({ rows, cols, sampler }) => {
      const x = sampler.normals(rows * cols);
      const shift = sampler.normals(rows);
      const limit = Float64Array.from({ length: cols }, () => 2 + 2 * sampler.uniform());
      let expected = 0;
      while (
        expected < rows &&
        x.subarray(expected * cols, (expected + 1) * cols).every((v, c) => v + shift[expected]! <= limit[c]!)
      ) {
        expected++;
      }
      let found = -1;
      apply(kernels, [limit, x, shift], (l, xo, s) => (found = kernels.firstRowAbove(l!, xo!, s!, rows, cols)));
      expect(found).toBe(expected);
    });
  });

  it("keeps the heap's content when it grows", () => {
    const own = createKernels({ simd });
    own.heap(16).fill(7, 0, 16);
    const larger = own.heap(100_000);
    expect(larger.length).toBeGreaterThanOrEqual(100_000);
    expect(larger.subarray(0, 16)).toEqual(new Float32Array(16).fill(7));
  });
});
