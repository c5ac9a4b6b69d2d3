import { measured } from "./measured.ts";
import type { LengthResult, ModelResult, QualityAtLength } from "./measured.ts";
import { axis, drawn, looks, text, title } from "./picture.ts";

/** What the picture shows of one way to run the model: `[tokens, value]`. */
interface Curve {
  readonly panel: 0 | 1;
  readonly name: string;
  readonly points: readonly (readonly [tokens: number, value: number])[];
  readonly unit: (value: number) => string;
}

const size = { width: 860, height: 380 };
const half = size.width / 2;
const headings = ["Masked accuracy kept, without training", "Speed relative to softmax"];

const percent = (value: number): string => `${value.toFixed(0)} %`;
const times = (value: number): string => `${value.toFixed(1)} x`;

/** The picture of the root README, as the text of an SVG file: what conversions keep, and what they gain, by length. */
export function readmePicture(): string {
  const curves = curvesOf(measured<QualityAtLength>("quality-at-length"));
  return drawn({
    ...size,
    id: "gain",
    words: words(curves),
    option: {
      title: headings.map((heading, panel) => title(heading, panel * half + 16)),
      legend: [legend(curves, 0), legend(curves, 1)],
      grid: [60, half + 60].map((left) => ({ left, width: half - 112, top: 100, bottom: 56, outerBoundsMode: "none" })),
      xAxis: [tokens(0), tokens(1)],
      yAxis: [
        {
          ...axis,
          gridIndex: 0,
          type: "value",
          min: 0,
          max: 100,
          axisLabel: { ...text, formatter: "{value} %" },
        },
        { ...axis, gridIndex: 1, type: "log", logBase: 2, min: 0.5, axisLabel: { ...text, formatter: "{value} x" } },
      ],
      series: curves.map((curve) => seriesOf(curve, curves)),
    },
  });
}

/** One model's figure at each length. */
function pointsOf(
  results: readonly LengthResult[],
  name: string,
  value: (model: ModelResult, softmax: ModelResult) => number,
): Curve["points"] {
  return results.flatMap(({ length, models = [] }) => {
    const found = models.find((model) => model.name === name);
    return found === undefined ? [] : [[length, value(found, models[0]!)] as const];
  });
}

function curvesOf({ results }: QualityAtLength): Curve[] {
  const kept = (name: string): Curve => ({
    panel: 0,
    name,
    // More than all is chance, and beyond the axis.
    points: pointsOf(results, name, (model) => Math.min(100, 100 * model.kept!.value)),
    unit: percent,
  });
  const speed = (name: string): Curve => ({
    panel: 1,
    name,
    points: pointsOf(results, name, (model, softmax) => softmax.seconds / model.seconds),
    unit: times,
  });
  return [kept("default conversion"), kept("FAVOR alone, M = 128"), speed("default conversion"), speed("exact, fused")];
}

function seriesOf(curve: Curve, curves: readonly Curve[]): object {
  const { panel, name, points, unit } = curve;
  const { colour, symbol } = looks[name]!;
  const other = curves.find((one) => one.panel === panel && one !== curve);
  /** Shares stand below where there is no room above; speeds away from the other curve. */
  const position = (value: number, at: number): "top" | "bottom" => {
    const isAbove = panel === 0 ? value < 90 : value > (other?.points[at]?.[1] ?? 0);
    return isAbove ? "top" : "bottom";
  };
  return {
    type: "line",
    silent: true,
    name,
    xAxisIndex: panel,
    yAxisIndex: panel,
    symbol,
    symbolSize: 9,
    data: points.map((value, at) => ({ value, label: { position: position(value[1], at) } })),
    itemStyle: { color: colour },
    lineStyle: { color: colour, width: 2.5 },
    label: {
      ...text,
      show: true,
      formatter: ({ value }: { value: readonly number[] }) => unit(value[1]!),
    },
  };
}

function legend(curves: readonly Curve[], panel: 0 | 1): object {
  const data = curves.filter((curve) => curve.panel === panel).map(({ name }) => name);
  return { data, left: panel * half + 12, top: 34, orient: "vertical", selectedMode: false, textStyle: text };
}

function tokens(gridIndex: number): object {
  return {
    ...axis,
    gridIndex,
    type: "log",
    logBase: 2,
    min: 256,
    name: "tokens",
    nameLocation: "middle",
    nameGap: 32,
    splitLine: { show: false },
    axisLabel: { ...text, formatter: (value: number) => value.toLocaleString("en-US") },
  };
}

/** The same in words. */
function words(curves: readonly Curve[]): string {
  const panels = headings.map((heading, panel) => {
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
