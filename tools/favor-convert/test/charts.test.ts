import { expect, test } from "vitest";

import { barChart, lineChart } from "../src/report/charts.ts";

const draw = (): string =>
  barChart(
    [
      { name: "softmax <original>", value: 89.2, low: 88.8, high: 89.6 },
      { name: "favor", value: 85, low: 84, high: 86 },
    ],
    { title: "Masked accuracy", axis: "%", id: "accuracy" },
  );

test("the same chart twice gives the same bytes, whatever was drawn before", () => {
  const first = draw();
  lineChart([{ name: "a", points: [[1, 2]] }], { title: "t", axis: "y", across: "x", id: "lines" });
  expect(draw()).toBe(first);
});

test("a chart is one svg element with escaped text, without process-wide identifiers", () => {
  const svg = draw();
  expect(svg).toMatch(/^<svg [^]*<\/svg>$/);
  expect(svg).toContain("softmax &lt;original&gt;");
  expect(svg).not.toMatch(/zr\d/);
});
