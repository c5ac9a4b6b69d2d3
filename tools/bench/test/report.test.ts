import { describe, expect, it } from "vitest";
import { judge, markdown } from "../src/report.ts";
import { logSlope } from "../src/timing.ts";

const at = (name: string, causal: boolean, time: (length: number) => number) =>
  [1024, 2048, 4096].map((length) => ({ name, causal, length, milliseconds: time(length) }));

const timings = [
  ...at("favor", false, (l) => l / 100),
  ...at("favor", true, (l) => (l / 100) ** 1.2),
  ...at("favor, 2 threads", false, (l) => l / 180),
  ...at("sdpa", false, (l) => l / 20),
  ...at("performer-pytorch", false, (l) => l / 200),
];

describe("the report", () => {
  it("fits the exponent of a power law", () => {
    expect(logSlope(at("x", false, (l) => 3 * l ** 1.7))).toBeCloseTo(1.7, 12);
  });

  it("judges the goals that were measured, at the longest length", () => {
    expect(judge(timings).map(({ measured, met }) => [Number(measured.toFixed(3)), met])).toEqual([
      [0.5, false],
      [5, true],
      [1.8, true],
      [1, true],
      [1.2, false],
    ]);
  });

  it("prints times and ratios, goals and rates", () => {
    const text = markdown({
      setting: { heads: 8, dim: 64, count: 128, lengths: [1024, 2048, 4096], seconds: 1 },
      machine: {
        processor: "a processor",
        load: 0.5,
        node: "v20",
        kernels: "simd",
        torch: undefined,
        rates: { favorProducts: 20, simdPeak: 40, sgemm: 100 },
      },
      timings,
      goals: judge(timings),
    });
    expect(text).toContain("| sdpa | 51.2 (5.00) |");
    expect(text).toContain("two threads at least 1.7 times one | 1.80 | met |");
    expect(text).toContain("50 % of WebAssembly's SIMD peak on this machine (40.0), 20 % of native sgemm's (100.0)");
  });
});
