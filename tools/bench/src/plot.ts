import * as echarts from "echarts";
import type { Timing } from "./timing.ts";

/** Milliseconds over length, both logarithmic, as an SVG: one line per implementation, dashed where causal. */
export function plot(timings: readonly Timing[], title: string): string {
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width: 900, height: 560 });
  const names = [...new Set(timings.map((t) => t.name))];
  const lines = names.flatMap((name) => [false, true].map((causal) => ({ name, causal })));
  chart.setOption({
    animation: false,
    title: { text: title, left: "center" },
    legend: { bottom: 0 },
    grid: { left: 80, right: 30, top: 60, bottom: 90 },
    xAxis: { type: "log", logBase: 2, name: "L, tokens", nameLocation: "middle", nameGap: 28, min: "dataMin" },
    yAxis: { type: "log", name: "milliseconds" },
    series: lines.map(({ name, causal }) => ({
      name: causal ? `${name}, causal` : name,
      type: "line",
      lineStyle: { type: causal ? "dashed" : "solid" },
      data: timings.filter((t) => t.name === name && t.causal === causal).map((t) => [t.length, t.milliseconds]),
    })),
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}
