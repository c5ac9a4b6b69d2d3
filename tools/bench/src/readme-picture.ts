// Draws the picture of the root README from docs/measurements: what a conversion keeps, and what it gains, by length.
//   npm run build && npm run readme-picture -w @favor/bench
// writes docs/gain.svg. A test fails while that file is not what the measurements give.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import * as echarts from "echarts";

import type { Timing } from "./timing.ts";

/** A figure with its 95 % interval. */
interface Estimate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** `antiberty.json`; shares in percent. */
export interface AntibertyFigures {
  readonly sequences: number;
  readonly maskedTokens: number;
  readonly maskedShare: number;
  readonly softmax: Estimate;
  readonly conversions: readonly {
    readonly attention: string;
    readonly accuracy: Estimate;
    readonly kept: Estimate;
    readonly seconds: number;
    readonly processorSeconds: number;
    readonly peakMegabytes: number;
  }[];
  readonly distilled: readonly {
    readonly attention: string;
    readonly stepsOf: string;
    readonly accuracy: Estimate;
    readonly kept: Estimate;
    readonly perplexity: number;
    readonly minutes: number;
    readonly peakMegabytes: number;
  }[];
}

/** `long-code.json`, as `gain.js` writes it; shares of 1. */
export interface LongCodeFigures {
  readonly quality: readonly {
    readonly length: number;
    readonly maskedTokens: number;
    readonly softmax: Estimate;
    readonly linear: Estimate;
    readonly kept: Estimate;
  }[];
  readonly speed: readonly {
    readonly length: number;
    readonly softmaxSeconds: number;
    readonly linearSeconds: number;
  }[];
}

interface AttentionFigures {
  readonly setting: { readonly lengths: readonly number[] };
  readonly timings: readonly Timing[];
}

/** What the picture shows of one model or measurement: `[tokens, value]`. */
interface Curve {
  readonly panel: 0 | 1;
  readonly name: string;
  readonly colour: string;
  readonly symbol: string;
  readonly points: readonly (readonly [tokens: number, value: number])[];
  readonly unit: (value: number) => string;
  /** Where each point's figure stands. */
  readonly label: "top" | "left" | "right";
}

const docs = new URL("../../../docs/", import.meta.url);
const size = { width: 860, height: 380 };
const half = size.width / 2;

/** Text and lines take their colour from the style below, so that the picture can be read in light and in dark. */
const ink = "currentColor";
const style =
  "<style>svg{color:#1f2328}.paper{fill:#fff}" +
  "@media(prefers-color-scheme:dark){svg{color:#e6edf3}.paper{fill:#0d1117}}</style>" +
  '<rect class="paper" width="100%" height="100%"/>';

const text = { color: ink, fontSize: 13, fontFamily: "sans-serif" };
const axis = {
  nameTextStyle: text,
  axisLine: { lineStyle: { color: ink, opacity: 0.5 } },
  axisTick: { lineStyle: { color: ink, opacity: 0.5 } },
  splitLine: { lineStyle: { color: ink, opacity: 0.15 } },
};
const percent = (value: number): string => `${value.toFixed(0)} %`;
const times = (value: number): string => `${value.toFixed(1)} x`;

/** A file of `docs/measurements` by its name. */
export function measured<Figures>(name: string): Figures {
  return JSON.parse(readFileSync(new URL(`measurements/${name}.json`, docs), "utf8")) as Figures;
}

/** The picture as the text of an SVG file. */
export function readmePicture(): string {
  const curves = curvesOf();
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, ...size });
  chart.setOption({
    animation: false,
    title: [title("Accuracy kept, without training", 16), title("Speed relative to softmax", half + 16)],
    legend: [legend(curves, 0), legend(curves, 1)],
    grid: [60, half + 60].map((left) => ({ left, width: half - 112, top: 100, bottom: 56, outerBoundsMode: "none" })),
    xAxis: [tokens(0, 64), tokens(1, 256)],
    yAxis: [
      { ...axis, gridIndex: 0, type: "value", min: 0, max: 100, axisLabel: { ...text, formatter: "{value} %" } },
      { ...axis, gridIndex: 1, type: "log", logBase: 2, min: 0.25, axisLabel: { ...text, formatter: "{value} x" } },
    ],
    series: curves.map(seriesOf),
  });
  const drawn = chart.renderToSVGString();
  chart.dispose();
  const named = `role="img" aria-label="${words(curves)}"`;
  return `${withNames(drawn).replace(/^<svg ([^>]*)>/, (_, attributes: string) => `<svg ${named} ${attributes}>${style}`)}\n`;
}

function curvesOf(): Curve[] {
  const antiberty = measured<AntibertyFigures>("antiberty");
  const longCode = measured<LongCodeFigures>("long-code");
  const attention = measured<AttentionFigures>("attention");
  const landmark = antiberty.conversions.find((row) => row.attention === "landmark 128")!;
  const meanTokens = antiberty.maskedTokens / antiberty.maskedShare / antiberty.sequences;
  const milliseconds = (name: string, length: number): number =>
    attention.timings.find((row) => row.name === name && !row.causal && row.length === length)!.milliseconds;
  const document = { colour: "#e8590c", symbol: "rect" };
  return [
    {
      panel: 0,
      name: "antibodies (AntiBERTy)",
      colour: "#4c6ef5",
      symbol: "circle",
      points: [[meanTokens, landmark.kept.value]],
      unit: percent,
      label: "right",
    },
    {
      ...document,
      panel: 0,
      name: "source code and prose (long-code)",
      points: longCode.quality.map(({ length, kept }) => [length, 100 * kept.value]),
      unit: percent,
      label: "top",
    },
    {
      panel: 1,
      name: "attention alone, against PyTorch's",
      colour: "#2f9e44",
      symbol: "triangle",
      points: attention.setting.lengths.map((length) => [
        length,
        milliseconds("sdpa", length) / milliseconds("favor", length),
      ]),
      unit: times,
      label: "right",
    },
    {
      ...document,
      panel: 1,
      name: "a whole model (long-code)",
      points: longCode.speed.map((row) => [row.length, row.softmaxSeconds / row.linearSeconds]),
      unit: times,
      label: "left",
    },
  ];
}

function seriesOf({ panel, name, colour, symbol, points, unit, label }: Curve): object {
  return {
    type: "line",
    silent: true,
    name,
    xAxisIndex: panel,
    yAxisIndex: panel,
    symbol,
    symbolSize: 9,
    data: points,
    itemStyle: { color: colour },
    lineStyle: { color: colour, width: 2.5 },
    label: {
      ...text,
      show: true,
      position: label,
      formatter: ({ value }: { value: readonly number[] }) => unit(value[1]!),
    },
  };
}

function title(value: string, left: number): object {
  return { text: value, left, top: 8, textStyle: { ...text, fontSize: 15, fontWeight: "bold" } };
}

function legend(curves: readonly Curve[], panel: 0 | 1): object {
  const data = curves.filter((curve) => curve.panel === panel).map(({ name }) => name);
  return { data, left: panel * half + 12, top: 34, orient: "vertical", selectedMode: false, textStyle: text };
}

function tokens(gridIndex: number, min: number): object {
  return {
    ...axis,
    gridIndex,
    type: "log",
    logBase: 2,
    min,
    name: "tokens",
    nameLocation: "middle",
    nameGap: 32,
    splitLine: { show: false },
    axisLabel: { ...text, formatter: (value: number) => value.toLocaleString("en-US") },
  };
}

/** The same in words, for those who hear the page. */
function words(curves: readonly Curve[]): string {
  const panels = ["Accuracy kept, without training", "Speed relative to softmax"].map((heading, panel) => {
    const said = curves
      .filter((curve) => curve.panel === panel)
      .map(({ name, points, unit }) => {
        const figures = points.map(([length, value]) => `${unit(value)} at ${length.toFixed(0)} tokens`);
        return `${name}: ${figures.join(", ")}`;
      });
    return `${heading}: ${said.join("; ")}.`;
  });
  return panels.join(" ");
}

/** ECharts numbers its elements by a counter of the process; here they are numbered within the picture. */
function withNames(svg: string): string {
  const names = new Map<string, string>();
  return svg.replaceAll(/\bzr\d+-[\w-]+/g, (name) => {
    const known = names.get(name) ?? `gain-${names.size}`;
    names.set(name, known);
    return known;
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(new URL("gain.svg", docs), readmePicture());
