import { describe, expect, it } from "vitest";
import { RandomStream, philox4x32, streamPurpose } from "../../src/index.ts";
import { cosSinTurn, log } from "../../src/random/elementary.ts";

const hex = (words: Uint32Array): string => Array.from(words, (word) => word.toString(16).padStart(8, "0")).join(" ");

function philox(counter: number[], key: [number, number]): string {
  const out = new Uint32Array(4);
  philox4x32(Uint32Array.from(counter), key[0], key[1], out);
  return hex(out);
}

describe("Philox4x32-10", () => {
  // Known answers of Random123 (kat_vectors, philox4x32 10).
  it("gives the known answers", () => {
    expect(philox([0, 0, 0, 0], [0, 0])).toBe("6627e8d5 e169c58d bc57ac4c 9b00dbd8");
    const ones = 0xffffffff;
    expect(philox([ones, ones, ones, ones], [ones, ones])).toBe("408f276d 41c83b0e a20bc7c6 6d5451fd");
    expect(philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0])).toBe(
      "d16cfe09 94fdcceb 5001e420 24126ea1",
    );
  });
});

function ulps(a: number, b: number): number {
  const bits = new BigInt64Array(Float64Array.of(a, b).buffer);
  return Math.abs(Number(bits[0]! - bits[1]!));
}

describe("elementary functions", () => {
  const stream = new RandomStream({ seed: 1, purpose: streamPurpose.trials });

  it("log is within 1 ulp of the engine's over the whole range", () => {
    let worst = 0;
    for (let i = 0; i < 100_000; i++) {
      const x = (stream.uniform() + 2 ** -53) * 2 ** Math.floor(stream.uniform() * 2000 - 1000);
      worst = Math.max(worst, ulps(log(x), Math.log(x)));
    }
    expect(worst).toBeLessThanOrEqual(1);
    expect([log(1), log(0), log(Infinity)]).toEqual([0, -Infinity, Infinity]);
    expect([log(-1), log(NaN)]).toEqual([NaN, NaN]);
    expect(ulps(log(5e-324), Math.log(5e-324))).toBeLessThanOrEqual(1);
  });

  it("cosine and sine of a turn are within 2 ulp in the first eighth, and within 1e-15 elsewhere", () => {
    let worstUlps = 0;
    let worst = 0;
    for (let i = 0; i < 100_000; i++) {
      const u = stream.uniform();
      const [c, s] = cosSinTurn(u);
      const angle = 2 * Math.PI * u;
      // Beyond an eighth of a turn the rounding of the angle 2 pi u itself is seen in Math.cos of it.
      if (u < 0.125) worstUlps = Math.max(worstUlps, ulps(c, Math.cos(angle)), ulps(s, Math.sin(angle)));
      worst = Math.max(worst, Math.abs(c - Math.cos(angle)), Math.abs(s - Math.sin(angle)));
    }
    expect(worstUlps).toBeLessThanOrEqual(2);
    expect(worst).toBeLessThan(1e-15);
    expect([cosSinTurn(0.25), cosSinTurn(0.5)]).toEqual([
      [-0, 1],
      [-1, -0],
    ]);
  });
});

describe("RandomStream", () => {
  it("is the same to the bit everywhere: golden bits", () => {
    const stream = new RandomStream({ seed: 123456789012345, purpose: 1, layer: 3, head: 5, epoch: 7 });
    expect(new BigUint64Array(stream.gaussians(6).buffer)).toEqual(
      BigUint64Array.of(
        4604801055164255256n,
        4604331873917594992n,
        13825354019353730096n,
        13833235772349196150n,
        4604193846592906161n,
        13827641566720930256n,
      ),
    );
  });

  it("separates every part of its address", () => {
    const base = { seed: 5, purpose: 1, layer: 0, head: 0, epoch: 0 };
    const firsts = [
      base,
      { ...base, seed: 6 },
      { ...base, seed: 5 + 2 ** 32 },
      { ...base, purpose: 2 },
      { ...base, layer: 1 },
      { ...base, head: 1 },
      { ...base, epoch: 1 },
    ].map((address) => new RandomStream(address).uint32());
    expect(new Set(firsts).size).toBe(firsts.length);
    expect(new RandomStream(base).uint32()).toBe(firsts[0]);
  });

  it("draws normals with the moments of a normal", () => {
    const n = 200_000;
    const values = new RandomStream({ seed: 2, purpose: 1 }).gaussians(n);
    const moment = (power: number): number => values.reduce((sum, x) => sum + x ** power, 0) / n;
    // Bounds of five standard errors: Var x^p = E x^2p - (E x^p)^2.
    expect(Math.abs(moment(1))).toBeLessThan(5 * Math.sqrt(1 / n));
    expect(Math.abs(moment(2) - 1)).toBeLessThan(5 * Math.sqrt(2 / n));
    expect(Math.abs(moment(3))).toBeLessThan(5 * Math.sqrt(15 / n));
    expect(Math.abs(moment(4) - 3)).toBeLessThan(5 * Math.sqrt(96 / n));
  });

  it("draws integers without bias and refuses addresses out of range", () => {
    const stream = new RandomStream({ seed: 3, purpose: 1 });
    const counts = new Float64Array(7);
    for (let i = 0; i < 70_000; i++) counts[stream.integer(7)]!++;
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(5 * Math.sqrt(10_000));
    expect(() => new RandomStream({ seed: -1, purpose: 1 })).toThrow("seed: expected an integer");
    expect(() => new RandomStream({ seed: 0.5, purpose: 1 })).toThrow("seed");
    expect(() => new RandomStream({ seed: 0, purpose: 1, layer: 65536 })).toThrow("layer");
    expect(() => stream.integer(0)).toThrow("bound");
  });
});
