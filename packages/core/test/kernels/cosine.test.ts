import { describe, expect, it } from "vitest";
import { runnableKernels } from "./engine.ts";
import { createKernels } from "../../src/kernels/create.ts";

describe.each(runnableKernels)("the cosine, simd: %s", (simd) => {
  const kernels = createKernels({ simd });

  /** Takes a multiple of 8 numbers. */
  function cos(x: ArrayLike<number>, shift: ArrayLike<number> = new Float32Array(8)): Float32Array {
    const heap = kernels.heap(8 + x.length);
    heap.set(Float32Array.from(shift), 0);
    heap.set(Float32Array.from(x), 8);
    kernels.cosRows(8, 0, x.length / 8, 8);
    return heap.slice(8, 8 + x.length);
  }

  it("is within 3e-7 of float64 up to 8192", () => {
    let worst = 0;
    const x = new Float32Array(1 << 16);
    for (const [from, step] of [
      [-8192, 16_384 / x.length],
      [-10, 20 / x.length],
      [1.5707, 2e-8],
      [8190, 2 / x.length],
      [0, 1e-12],
    ] as const) {
      const y = cos(x.map((_, i) => from + i * step));
      for (let i = 0; i < x.length; i++) {
        worst = Math.max(worst, Math.abs(y[i]! - Math.cos(Math.fround(from + i * step))));
      }
    }
    expect(worst).toBeLessThan(3e-7);
    expect(worst).toBeGreaterThan(1e-8); // it is float32
  });

  it("stays within [-1, 1] beyond, and is NaN where there is no angle", () => {
    const large = cos([1e4, -1e5, 1e6, -1e7, 1e8, 1e12, -1e30, 3.4e38]);
    for (const y of large) expect(Math.abs(y) <= 1).toBe(true);
    const none = cos([Number.NaN, Infinity, -Infinity, 0, Number.NaN, 0, 0, -0]);
    expect(Array.from(none)).toEqual([Number.NaN, Number.NaN, Number.NaN, 1, Number.NaN, 1, 1, 1]);
  });

  it("adds the shift of the column first", () => {
    const shift = [0, 1, 2, 3, -1, -2, 0.5, 6];
    const x = Float32Array.from({ length: 24 }, (_, i) => 0.3 * i - 4);
    cos(x, shift).forEach((y, i) => expect(y).toBeCloseTo(Math.cos(x[i]! + shift[i % 8]!), 6));
  });
});
