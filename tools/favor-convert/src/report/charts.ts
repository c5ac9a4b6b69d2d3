import { BarChart, CustomChart, LineChart } from "echarts/charts";
import { GridComponent, LegendComponent, TitleComponent } from "echarts/components";
import { init, use } from "echarts/core";
import type { EChartsCoreOption } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";

import type { Estimate } from "../measure/bootstrap.ts";

use([BarChart, CustomChart, LineChart, GridComponent, LegendComponent, TitleComponent, SVGRenderer]);

const palette = ["#4c6ef5", "#e8590c", "#2b8a3e", "#862e9c", "#1098ad", "#868e96"];

/** Space around the plot; the font that the labels will have is not known here, so none is fitted. */
const room = { right: 60, bottom: 28, outerBoundsMode: "none" };

/** A bar of a bar chart, with its interval where there is one. */
export interface Bar {
  readonly name: string;
  readonly value: number;
  readonly low?: number;
  readonly high?: number;
}

export interface ChartText {
  readonly title: string;
  readonly axis: string;
  /** Prefix of the identifiers in the SVG: unique within its page. */
  readonly id: string;
}

/** A bar for each model with the 95 % interval as a whisker. Returns an `<svg>` element. */
export function barChart(bars: readonly Bar[], text: ChartText): string {
  return svg(text.id, 70 + 44 * bars.length, {
    animation: false,
    color: palette,
    title: { text: text.title, left: 0, textStyle: { fontSize: 14, fontWeight: 600 } },
    grid: { ...room, left: 12 + 8 * Math.max(...bars.map((bar) => bar.name.length)), top: 36 },
    xAxis: { type: "value", min: 0, name: text.axis, nameLocation: "end" },
    yAxis: { type: "category", inverse: true, data: bars.map((bar) => bar.name), axisTick: { show: false } },
    series: [
      {
        type: "bar",
        silent: true,
        barWidth: 18,
        data: bars.map((bar, i) => ({ value: bar.value, itemStyle: { color: palette[i % palette.length] } })),
      },
      whiskers(bars),
    ],
  });
}

function stroke(x1: number, y1: number, x2: number, y2: number): object {
  return { type: "line", shape: { x1, y1, x2, y2 }, style: { stroke: "#212529", lineWidth: 1.5 } };
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
}

/** Lines over two logarithmic axes. Returns an `<svg>` element. */
export function lineChart(lines: readonly Line[], text: ChartText & { readonly across: string }): string {
  const ticks = lines[0]?.points.map(([x]) => String(x)) ?? [];
  return svg(text.id, 300, {
    animation: false,
    color: palette,
    title: { text: text.title, left: 0, textStyle: { fontSize: 14, fontWeight: 600 } },
    legend: { top: 30, left: 0, icon: "roundRect", selectedMode: false, itemGap: 30, itemHeight: 3 },
    grid: { ...room, left: 70, top: 86 },
    xAxis: { type: "category", data: ticks, name: text.across, nameLocation: "end", boundaryGap: false },
    yAxis: { type: "log", name: text.axis },
    series: lines.map((line) => ({
      type: "line",
      silent: true,
      name: line.name,
      symbolSize: 6,
      data: line.points.map(([, y]) => y),
    })),
  });
}

/**
 * Lines over linear axes, such as accuracy against steps; a line of two points shows a level to compare with. Returns an
 * `<svg>` element.
 */
export function curveChart(lines: readonly Line[], text: ChartText & { readonly across: string }): string {
  // Four names fill a row of the legend.
  const legendRows = Math.ceil(lines.length / 4);
  return svg(text.id, 278 + 42 * legendRows, {
    animation: false,
    color: palette,
    title: { text: text.title, left: 0, textStyle: { fontSize: 14, fontWeight: 600 } },
    legend: { top: 30, left: 0, icon: "roundRect", selectedMode: false, itemGap: 30, itemHeight: 3 },
    grid: { ...room, left: 70, top: 44 + 42 * legendRows },
    xAxis: { type: "value", name: text.across, nameLocation: "end" },
    yAxis: { type: "value", scale: true, name: text.axis },
    series: lines.map((line) => ({
      type: "line",
      silent: true,
      name: line.name,
      showSymbol: line.points.length !== 2,
      symbolSize: 5,
      lineStyle: { type: line.points.length === 2 ? "dashed" : "solid" },
      data: line.points.map(([x, y]) => [x, y]),
    })),
  });
}

/** Counts of values in equal bins over [low, 1]. Returns an `<svg>` element. */
export function cosineHistogram(values: readonly number[], text: ChartText): string {
  const bins = 20;
  const low = Math.min(...values.map((value) => Math.floor(value * 10) / 10), 0.9);
  const counts = Array.from({ length: bins }, () => 0);
  for (const value of values) {
    const bin = Math.min(bins - 1, Math.max(0, Math.floor(((value - low) / (1 - low)) * bins)));
    counts[bin]!++;
  }
  return svg(text.id, 260, {
    animation: false,
    color: palette,
    title: { text: text.title, left: 0, textStyle: { fontSize: 14, fontWeight: 600 } },
    grid: { ...room, left: 60, top: 70 },
    xAxis: { type: "category", data: counts.map((_, i) => (low + ((1 - low) * i) / bins).toFixed(3)), name: text.axis },
    yAxis: { type: "value", name: "sequences" },
    series: [{ type: "bar", silent: true, barCategoryGap: "5%", data: counts }],
  });
}

/** The bar of an estimate. */
export function barOf(name: string, estimate: Estimate, factor = 1): Bar {
  return { name, value: estimate.value * factor, low: estimate.low * factor, high: estimate.high * factor };
}

function svg(id: string, height: number, option: EChartsCoreOption): string {
  const chart = init(null, null, { renderer: "svg", ssr: true, width: 640, height });
  try {
    chart.setOption(option);
    // ECharts numbers its elements by a counter of the process; a page must not depend on what was drawn before it.
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
