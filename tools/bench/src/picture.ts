import * as echarts from "echarts";

/** Text and lines take their colour from the style below, so that the picture can be read in light and in dark. */
const ink = "currentColor";
const style =
  "<style>svg{color:#1f2328}.paper{fill:#fff}" +
  "@media(prefers-color-scheme:dark){svg{color:#e6edf3}.paper{fill:#0d1117}}</style>" +
  '<rect class="paper" width="100%" height="100%"/>';

export const text: object = { color: ink, fontSize: 13, fontFamily: "sans-serif" };
export const axis: object = {
  nameTextStyle: text,
  axisLine: { lineStyle: { color: ink, opacity: 0.5 } },
  axisTick: { lineStyle: { color: ink, opacity: 0.5 } },
  splitLine: { lineStyle: { color: ink, opacity: 0.15 } },
};

/** One colour and one symbol for each way to run the model, the same in every picture. */
export const looks: Readonly<Record<string, { readonly colour: string; readonly symbol: string }>> = {
  softmax: { colour: "#868e96", symbol: "diamond" },
  "exact, linear memory": { colour: "#1098ad", symbol: "roundRect" },
  "exact, fused": { colour: "#2f9e44", symbol: "triangle" },
  "FAVOR alone, M = 128": { colour: "#e8590c", symbol: "rect" },
  "default conversion": { colour: "#4c6ef5", symbol: "circle" },
  tuned: { colour: "#ae3ec9", symbol: "pin" },
};

export function title(value: string, left: number, top = 8): object {
  return { text: value, left, top, textStyle: { ...text, fontSize: 15, fontWeight: "bold" } };
}

/** What is drawn, and how large. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  /** ECharts' options. */
  readonly option: object;
  /** The same in words, for those who hear the page. */
  readonly words: string;
  /** Begins the identifiers of its elements. */
  readonly id: string;
}

/** The text of an SVG file. */
export function drawn({ width, height, option, words, id }: Picture): string {
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width, height });
  chart.setOption({ animation: false, ...option });
  const svg = withNames(chart.renderToSVGString(), id);
  chart.dispose();
  const named = `role="img" aria-label="${words}"`;
  return `${svg.replace(/^<svg ([^>]*)>/, (_, attributes: string) => `<svg ${named} ${attributes}>${style}`)}\n`;
}

/** ECharts numbers its elements by a counter of the process; here they are numbered within the picture. */
function withNames(svg: string, id: string): string {
  const names = new Map<string, string>();
  return svg.replaceAll(/\bzr\d+-[\w-]+/g, (name) => {
    const known = names.get(name) ?? `${id}-${names.size}`;
    names.set(name, known);
    return known;
  });
}
