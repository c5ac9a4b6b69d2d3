import { expect, test } from "vitest";

import { barChart, curveChart, lineChart, methodColor } from "../../src/pages/charts.ts";
import { withInterval } from "@favor/measure/numbers";
import { html, page, table } from "../../src/pages/page.ts";

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

test("a chart is one figure with escaped text, without process-wide identifiers", () => {
  const figure = draw();
  expect(figure).toMatch(/^<figure>[^]*<\/figure>$/);
  expect(figure.match(/<svg /g)).toHaveLength(1);
  expect(figure).toContain("softmax &lt;original&gt;");
  expect(figure).not.toMatch(/zr\d/);
});

test("a chart has a caption, its values in words, and the page's own colour of text", () => {
  const figure = draw();
  expect(figure).toContain("<figcaption>Masked accuracy</figcaption>");
  expect(figure).toContain(
    'role="img" aria-label="Masked accuracy: softmax &lt;original&gt; 89.2 (88.8 to 89.6); favor 85 (84 to 86)."',
  );
  const texts = figure.match(/<text [^>]*>/g) ?? [];
  expect(texts.length).toBeGreaterThan(3);
  for (const text of texts) expect(text).toContain('fill="currentColor"');
});

/** Relative luminance of `#rrggbb`, by WCAG 2.2. */
function luminance(color: string): number {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const share = Number.parseInt(color.slice(at, at + 2), 16) / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(a: string, b: string): number {
  const [dark, light] = [luminance(a), luminance(b)].toSorted((x, y) => x - y) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

test("bars and lines stand out from a light and from a dark page, texts more so (WCAG 2.2)", () => {
  const bars = Array.from({ length: 6 }, (_, i) => ({ name: `model ${i}`, value: i + 1 }));
  const drawn = barChart(bars, { title: "t", axis: "y", id: "six" });
  const style = page("t", html``);
  const colors = (name: string): string[] =>
    [...style.matchAll(new RegExp(`--${name}: (#[0-9a-f]+)`, "g"))].map(([, color]) =>
      color!.length === 4 ? `#${color![1]}${color![1]}${color![2]}${color![2]}${color![3]}${color![3]}` : color!,
    );
  const [light, dark] = colors("page") as [string, string];
  expect(luminance(light)).toBeGreaterThan(luminance(dark));
  const fills = new Set([...drawn.matchAll(/fill="(#[0-9a-f]{6})"/g)].map(([, color]) => color!));
  expect(fills.size).toBe(6);
  for (const fill of fills) for (const ground of [light, dark]) expect(contrast(fill, ground)).toBeGreaterThan(3);
  for (const name of ["ink", "muted"]) {
    const [onLight, onDark] = colors(name) as [string, string];
    expect(contrast(onLight, light)).toBeGreaterThan(4.5);
    expect(contrast(onDark, dark)).toBeGreaterThan(4.5);
  }
});

test("a column of numbers stands right, head and cells; others stand left", () => {
  const made = table(
    ["model", "accuracy", "note"],
    [
      ["a", "81.2 % (80.9 to 81.5)", "4 of 5"],
      ["b", "9.1 % (8.0 to 10.2)", ""],
    ],
    "Accuracy of both",
  ).text.replaceAll(/\s+/g, " ");
  expect(made).toMatch(/<caption>\s*Accuracy of both\s*<\/caption>/);
  expect(made).toContain('<th scope="col" class="number">accuracy</th>');
  expect(made).toContain('<td class="number">9.1 % (8.0 to 10.2)</td>');
  expect(made.match(/class="number"/g)).toHaveLength(3);
  expect(made).toContain('class="scroll" role="region" aria-label="Accuracy of both" tabindex="0"');
});

test("an estimate and its interval have the same decimals", () => {
  expect(withInterval({ value: 2.77, low: 2.5382, high: 3.0521 })).toBe("2.770 (2.538 to 3.052)");
  expect(withInterval({ value: 123.456, low: 99.96, high: 1000 })).toBe("123.5 (100.0 to 1000.0)");
  expect(withInterval({ value: 2e-5, low: 1e-5, high: 3e-5 })).toBe("2.00e-5 (1.00e-5 to 3.00e-5)");
});

/** Where each name of a legend begins, in pixels of the chart. */
function legendOf(figure: string): { name: string; x: number; y: number }[] {
  const texts = figure.matchAll(/<text [^>]*translate\(([\d.]+) ([\d.]+)\)[^>]*>(method[^<]*)</g);
  return [...texts].map(([, x, y, name]) => ({ name: name!, x: Number(x), y: Number(y) }));
}

test("the names of a legend do not overprint each other, nor the plot", () => {
  const names = Array.from({ length: 6 }, (_, i) => `method ${"with a long name ".repeat(i % 3)}${i}`);
  const lines = names.map((name) => ({
    name,
    points: [
      [0, 1],
      [1, 2],
    ] as const,
  }));
  const drawn = curveChart(lines, { title: "t", axis: "the axis", across: "x", id: "many" });
  const placed = legendOf(drawn);
  expect(placed.map(({ name }) => name).toSorted()).toEqual(names.toSorted());
  for (const one of placed) {
    for (const other of placed) {
      if (one === other || Math.abs(one.y - other.y) > 12) continue;
      const [left, right] = one.x < other.x ? [one, other] : [other, one];
      expect(right.x - left.x).toBeGreaterThan(7 * left.name.length);
    }
  }
  const [, axis] = /<text [^>]*?translate\([\d.]+ ([\d.]+)\)[^>]*>the axis</.exec(drawn) ?? [];
  expect(Number(axis)).toBeGreaterThan(Math.max(...placed.map(({ y }) => y)) + 12);
});

test("a method has the same colour in bars and lines, whatever its place", () => {
  const color = methodColor.converted;
  const bar = barChart([{ name: "converted", value: 1, color }], { title: "t", axis: "y", id: "a" });
  const line = lineChart([{ name: "converted", points: [[1, 2]], color }], {
    title: "t",
    axis: "y",
    across: "x",
    id: "b",
  });
  expect(bar).toContain('fill="#e8590c"');
  expect(line).toContain('stroke="#e8590c"');
  expect(line).not.toContain("#4c6ef5");
});
