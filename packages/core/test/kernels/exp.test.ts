import { describe, expect, it } from "vitest";
import { runnableKernels } from "./engine.ts";
import { createKernels } from "../../src/kernels/create.ts";

describe.each(runnableKernels)("the exponential, simd: %s", (simd) => {
  const kernels = createKernels({ simd });

  function exp(x: Float32Array): Float32Array {
    const heap = kernels.heap(x.length + 16 + 8);
    const cols = 8;
    const rows = x.length / cols;
    heap.fill(0, 0, 8 + rows);
    const block = Math.ceil((8 + rows) / 8) * 8;
    const whole = kernels.heap(block + x.length);
    whole.set(x, block);
    kernels.expRows(block, 8, 0, rows, cols);
    return whole.slice(block, block + x.length);
  }

  it("is within 2 ulp of float64 over the whole range of float32", () => {
    // every 1009th float32 of either sign: 4 million numbers, all exponents, all low bits
    const step = 1009;
    let worst = 0;
    const bits = new Uint32Array(1 << 16);
    const x = new Float32Array(bits.buffer);
    for (let start = 0; start < 2 ** 32; start += step * bits.length) {
      for (let i = 0; i < bits.length; i++) bits[i] = start + i * step;
      const result = exp(x);
      for (let i = 0; i < x.length; i++) {
        const expected = Math.exp(x[i]!);
        const actual = result[i]!;
        if (Number.isNaN(x[i])) {
          if (!Number.isNaN(actual)) throw new Error(`exp(NaN ${bits[i]!.toString(16)}) = ${actual}`);
        } else if (expected < 2 ** -126 * 1.000001) {
          // flushed to 0, but for the last few numbers before the least normal one
          if (actual !== 0 && Math.abs(actual / expected - 1) > 2 ** -22) throw new Error(`exp(${x[i]}) = ${actual}`);
        } else if (expected >= 3.4028235e38) {
          if (actual < 3.4028e38) throw new Error(`exp(${x[i]}) = ${actual}`);
        } else {
          const ulp = 2 ** (Math.floor(Math.log2(expected)) - 23);
          worst = Math.max(worst, Math.abs(actual - expected) / ulp);
        }
      }
    }
    expect(worst).toBeLessThan(2);
    expect(worst).toBeGreaterThan(0.4); // it is float32
  });

  it("has the limits of exp", () => {
    const x = Float32Array.of(0, -0, -Infinity, Infinity, 88.72283, 88.7229, -87.33654, -87.4);
    const y = exp(x);
    expect([...y.subarray(0, 4)]).toEqual([1, 1, 0, Infinity]);
    expect(y[4]! / Math.exp(x[4]!)).toBeCloseTo(1, 6);
    expect(y[5]).toBe(Infinity);
    expect(y[6]! / Math.exp(x[6]!)).toBeCloseTo(1, 6);
    expect(y[7]).toBe(0);
  });

  it("adds the shifts of row and column first", () => {
    const heap = kernels.heap(64);
    heap.set([1, -2], 0);
    heap.set([0, 1, 2, 3, 4, 5, 6, 7], 8);
    heap.fill(0.5, 16, 32);
    kernels.expRows(16, 0, 8, 2, 8);
    for (let i = 0; i < 16; i++) {
      const expected = Math.exp(0.5 + (i % 8) + (i < 8 ? 1 : -2));
      expect(heap[16 + i]! / expected).toBeCloseTo(1, 6);
    }
  });
});
