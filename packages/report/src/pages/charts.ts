import { BarChart, CustomChart, LineChart } from "echarts/charts";
import { GridComponent, LegendComponent } from "echarts/components";
import { init, use } from "echarts/core";
import type { EChartsCoreOption } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";

import type { Estimate } from "@favor/measure";
import { short } from "@favor/measure/numbers";
import { Html, html, scrolling } from "./page.ts";

use([BarChart, CustomChart, LineChart, GridComponent, LegendComponent, SVGRenderer]);

/**
 * One colour for each method, the same in every chart of a page: softmax first. Each has a contrast of at least 3:1 with the
 * page, light or dark (WCAG 2.2, 1.4.11).
 */
const palette = ["#4c6ef5", "#e8590c", "#2f9e44", "#ae3ec9", "#1098ad", "#868e96"];

/** The methods of a conversion by the number of their colour. */
export const methodColor = { original: 0, converted: 1, tuned: 2, control: 3 } as const;

/** Lines also differ in their points, because many readers cannot rely on colour, nor can print. */
const symbols = ["circle", "rect", "triangle", "diamond", "roundRect", "pin"];

/** Text and lines take the colour of the surrounding page, light or dark. */
const ink = "currentColor";

/** Narrow, so that the text is still readable on a telephone, where charts shrink to the page. */
const width = 480;
const fontSize = 14;
/** About how much a letter takes, in pixels. The font is unknown here. */
const letter = 7.6;

/** Space around the plot. The font of the labels is unknown here, so nothing is fitted to them. */
const room = { right: 24, bottom: 46, outerBoundsMode: "none" };

const axisLook = {
  nameTextStyle: { color: ink, fontSize },
  axisLabel: { color: ink, fontSize, hideOverlap: true },
  axisLine: { lineStyle: { color: ink, opacity: 0.5 } },
  axisTick: { lineStyle: { color: ink, opacity: 0.5 } },
  splitLine: { lineStyle: { color: ink, opacity: 0.15 } },
};
/** A horizontal axis, with its name below its middle. */
const across = { ...axisLook, nameLocation: "middle", nameGap: 30 };
/** A vertical axis, with its name above it. */
const upward = { ...axisLook, nameLocation: "end", nameTextStyle: { ...axisLook.nameTextStyle, align: "left" } };

/** Height of a row of the legend, in pixels. */
const legendRow = 22;

/** One legend per line, each at its place: a single legend would overprint where the font is wide. */
function legendOf(lines: readonly Line[]): { legend: object[]; height: number } {
  const [symbol, gap] = [36, 12];
  let [left, row] = [0, 0];
  const legend = lines.map(({ name }) => {
    const needed = symbol + letter * name.length + gap;
    if (left > 0 && left + needed > width) [left, row] = [0, row + 1];
    const placed = {
      data: [name],
      top: legendRow * row,
      left,
      selectedMode: false,
      textStyle: { color: ink, fontSize },
    };
    left += needed;
    return placed;
  });
  return { legend, height: legendRow * (row + 1) };
}

/** The colour of the `index`-th method, unless the method has one already. */
function colorOf({ color }: { readonly color?: number }, index: number): string {
  return palette[(color ?? index) % palette.length]!;
}

function symbolOf({ color }: { readonly color?: number }, index: number): string {
  return symbols[(color ?? index) % symbols.length]!;
}

/** A bar of a bar chart, with an optional interval. */
export interface Bar {
  readonly name: string;
  readonly value: number;
  readonly low?: number;
  readonly high?: number;
  /** The number of its method's colour; default: the bar's own number. */
  readonly color?: number;
}

export interface ChartText {
  /** The caption. */
  readonly title: string;
  /** Name of the axis of values, with its unit. */
  readonly axis: string;
  /** Prefix of the identifiers in the SVG: unique within its page. */
  readonly id: string;
}

/** A bar per model, with the 95 % interval as a whisker. Returns a `<figure>` with an `<svg>` and its caption. */
export function barChart(bars: readonly Bar[], text: ChartText): string {
  const told = bars.map(({ name, value, low, high }) => {
    const interval = low === undefined || high === undefined ? "" : ` (${short(low)} to ${short(high)})`;
    return `${name} ${short(value)}${interval}`;
  });
  return figure(text, told, 60 + 40 * bars.length, {
    grid: { ...room, left: 12 + letter * Math.max(...bars.map((bar) => bar.name.length)), top: 6 },
    xAxis: { ...across, type: "value", min: 0, name: text.axis },
    yAxis: { ...upward, type: "category", inverse: true, data: bars.map((bar) => bar.name), axisTick: { show: false } },
    series: [
      {
        type: "bar",
        silent: true,
        barWidth: 18,
        data: bars.map((bar, i) => ({ value: bar.value, itemStyle: { color: colorOf(bar, i) } })),
      },
      whiskers(bars),
    ],
  });
}

function stroke(x1: number, y1: number, x2: number, y2: number): object {
  return { type: "line", shape: { x1, y1, x2, y2 }, style: { stroke: ink, lineWidth: 1.5 } };
}

/** Horizontal whiskers from `low` to `high` over a bar chart. */
function whiskers(bars: readonly Bar[]): object {
  return {
    type: "custom",
    z: 10,
    silent: true,
    encode: { x: [0, 1], y: 2 },
    data: bars.flatMap((bar, i) => (bar.low === undefined || bar.high === undefined ? [] : [[bar.low, bar.high, i]])),
    renderItem: (_: unknown, api: { value(i: number): number; coord(point: number[]): number[] }) => {
      const [left, y] = api.coord([api.value(0), api.value(2)]) as [number, number];
      const [right] = api.coord([api.value(1), api.value(2)]) as [number, number];
      return {
        type: "group",
        children: [stroke(left, y, right, y), stroke(left, y - 5, left, y + 5), stroke(right, y - 5, right, y + 5)],
      };
    },
  };
}

/** A line of a line chart: `[x, y]` points. */
export interface Line {
  readonly name: string;
  readonly points: readonly (readonly [number, number])[];
  /** The number of its method's colour; default: the line's own number. */
  readonly color?: number;
}

/** Describes a line by its first and last point. */
function lineInWords({ name, points }: Line): string {
  const [first, last] = [points[0], points.at(-1)];
  if (first === undefined || last === undefined) return name;
  return `${name}: ${short(first[1])} at ${first[0]}, ${short(last[1])} at ${last[0]}`;
}

/** A line chart with two logarithmic axes. Returns a `<figure>` with an `<svg>` and its caption. */
export function lineChart(lines: readonly Line[], text: ChartText & { readonly across: string }): string {
  const ticks = lines[0]?.points.map(([x]) => String(x)) ?? [];
  const { legend, height } = legendOf(lines);
  return figure(text, lines.map(lineInWords), 276 + height, {
    legend,
    grid: { ...room, left: 64, top: 34 + height },
    xAxis: { ...across, type: "category", data: ticks, name: text.across, boundaryGap: false },
    yAxis: { ...upward, type: "log", name: text.axis },
    series: lines.map((line, i) => ({
      type: "line",
      silent: true,
      name: line.name,
      color: colorOf(line, i),
      symbol: symbolOf(line, i),
      symbolSize: 7,
      data: line.points.map(([, y]) => y),
    })),
  });
}

/**
 * A line chart with linear axes, such as accuracy by step. A line of two points is a level to compare with. Returns a
 * `<figure>` with an `<svg>` and its caption.
 */
export function curveChart(lines: readonly Line[], text: ChartText & { readonly across: string }): string {
  const { legend, height } = legendOf(lines);
  return figure(text, lines.map(lineInWords), 280 + height, {
    legend,
    grid: { ...room, left: 64, top: 34 + height },
    xAxis: { ...across, type: "value", name: text.across },
    yAxis: { ...upward, type: "value", scale: true, name: text.axis },
    series: lines.map((line, i) => ({
      type: "line",
      silent: true,
      name: line.name,
      showSymbol: line.points.length !== 2,
      color: colorOf(line, i),
      symbol: symbolOf(line, i),
      symbolSize: 7,
      lineStyle: { type: line.points.length === 2 ? "dashed" : "solid" },
      data: line.points.map(([x, y]) => [x, y]),
    })),
  });
}

/** A histogram of values in equal bins over [low, 1]. Returns a `<figure>` with an `<svg>` and its caption. */
export function cosineHistogram(values: readonly number[], text: ChartText): string {
  const bins = 20;
  const low = Math.min(...values.map((value) => Math.floor(value * 10) / 10), 0.9);
  const counts = Array.from({ length: bins }, () => 0);
  for (const value of values) {
    const bin = Math.min(bins - 1, Math.max(0, Math.floor(((value - low) / (1 - low)) * bins)));
    counts[bin]!++;
  }
  const told = [
    `${values.length} values, the smallest ${short(Math.min(...values))}, the largest ${short(Math.max(...values))}`,
  ];
  const edges = counts.map((_, i) => (low + ((1 - low) * i) / bins).toFixed(3));
  return figure(text, told, 260, {
    grid: { ...room, left: 60, top: 34 },
    xAxis: { ...across, type: "category", data: edges, name: `${text.axis}, from` },
    yAxis: { ...upward, type: "value", minInterval: 1, name: "sequences" },
    series: [
      {
        type: "bar",
        silent: true,
        barCategoryGap: "5%",
        data: counts,
        itemStyle: { color: palette[methodColor.converted] },
      },
    ],
  });
}

/** The bar for an estimate. */
export function barOf(name: string, { value, low, high }: Estimate, factor = 1): Bar {
  return { name, value: value * factor, low: low * factor, high: high * factor };
}

/** A chart with its caption. `told` describes it in words for screen readers. */
function figure({ title, id }: ChartText, told: readonly string[], height: number, option: EChartsCoreOption): string {
  const words = `${title}: ${told.join("; ")}.`;
  const drawn = svg(id, height, { animation: false, color: palette, ...option });
  const named = new Html(drawn.replace("<svg ", html`<svg role="img" aria-label="${words}" `.text));
  return html`<figure>
    <figcaption>${title}</figcaption>
    ${scrolling(named, title)}
  </figure>`.text;
}

function svg(id: string, height: number, option: EChartsCoreOption): string {
  const chart = init(null, null, { renderer: "svg", ssr: true, width, height });
  try {
    chart.setOption(option);
    // ECharts numbers elements per process, but a page must not depend on what was drawn before it.
    const names = new Map<string, string>();
    return chart.renderToSVGString().replaceAll(/\bzr\d+-[\w-]+/g, (name) => {
      const known = names.get(name) ?? `${id}-${names.size}`;
      names.set(name, known);
      return known;
    });
  } finally {
    chart.dispose();
  }
}
