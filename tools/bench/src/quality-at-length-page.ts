import type { LengthResult, ModelResult, QualityAtLength } from "./measured.ts";
import { axis, drawn, looks, text, title } from "./picture.ts";

const count = (value: number): string => value.toLocaleString("en-US");
const share = (value: number): string => `${(100 * value).toFixed(1)} %`;
const times = (value: number): string => value.toFixed(2);
const megabytes = (bytes: number): string => `${count(Math.round(bytes / 1e6))} MB`;
const duration = (seconds: number): string =>
  seconds < 1 ? `${(1000 * seconds).toFixed(0)} ms` : `${seconds.toPrecision(3)} s`;
const row = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [row(head), row(head.map(() => "---")), ...rows.map(row)].join("\n");

type Measured = LengthResult & { readonly models: readonly ModelResult[] };
const isMeasured = (result: LengthResult): result is Measured => result.models !== undefined;

/** The table of the root README: quality, time and memory of one model by length. */
export function headlineTable({ results }: QualityAtLength): string {
  return table(
    [
      "tokens",
      "accuracy: softmax",
      "default conversion",
      "times as fast",
      "memory",
      "exact, fused: times as fast",
      "memory",
    ],
    results.filter(isMeasured).map(({ length, models }) => {
      const [softmax] = models as readonly [ModelResult];
      const [usual, exact] = ["default conversion", "exact, fused"].map((name) =>
        models.find((each) => each.name === name)!,
      );
      const memory = ({ peakBytes }: ModelResult): string =>
        `${megabytes(peakBytes)} of ${megabytes(softmax.peakBytes)}`;
      return [
        count(length),
        share(softmax.accuracy.value),
        `${share(usual!.accuracy.value)}, ${share(usual!.kept!.value)} of it`,
        times(softmax.seconds / usual!.seconds),
        memory(usual!),
        times(softmax.seconds / exact!.seconds),
        memory(exact!),
      ];
    }),
  );
}

/** `docs/measurements/quality-at-length.md`. */
export function qualityPage(figures: QualityAtLength): string {
  const { machine, setting, results } = figures;
  const { calibrateCount, maxLength } = setting.calibration;
  return `# One model at its lengths: quality, time and memory of every way to run it

long-code is a masked language model of source code, documentation and speeches, made for this project and embedded in
[examples/long-documents](../../examples/long-documents): ModernBERT's architecture, 4 layers of 4 heads of 64, trained at up to
4,096 tokens. All conversions are untrained. Features are calibrated on ${calibrateCount} windows of ${count(maxLength)} tokens; quality is measured on
windows of other documents. "Kept" is the share of softmax's masked accuracy. Intervals are 95 % bootstraps over windows.

Time is processor time of one forward pass on one thread, memory the peak of the process, model and runtime included. Measured on
${machine.date}: ${machine.processor}, ${machine.cores} cores, Node ${machine.node}. The machine was busy, so compare columns of one length.

![Accuracy kept against speed-up, for each length](quality-at-length.svg)

${results.map(section).join("\n\n")}

Written by \`npm run quality-at-length -w @favor/bench\` from [quality-at-length.json](quality-at-length.json), which
\`node examples/long-documents/demo.js --long\` measures.
`;
}

function section({ length, windows, maskedTokens, models, softmaxFails }: LengthResult): string {
  const heading = `## ${count(length)} tokens`;
  if (softmaxFails !== undefined) {
    return `${heading}\n\nSoftmax itself falls from ${share(softmaxFails.trained)} to ${share(softmaxFails.accuracy)} here, beyond the longest length that it was trained at, so there is nothing to keep.`;
  }
  const [softmax] = models!;
  return `${heading}

${count(maskedTokens)} masked tokens of ${windows} windows${length > 4096 ? ", twice as long as the model was trained at" : ""}.

${table(
  ["attention", "masked accuracy (95 %)", "kept", "perplexity", "time", "times as fast", "memory"],
  models!.map(({ name, accuracy, kept, perplexity, seconds, peakBytes }) => [
    name,
    `${share(accuracy.value)} (${(100 * accuracy.low).toFixed(1)} to ${(100 * accuracy.high).toFixed(1)})`,
    kept === undefined ? "" : share(kept.value),
    perplexity.value.toFixed(2),
    duration(seconds),
    times(softmax!.seconds / seconds),
    megabytes(peakBytes),
  ]),
)}`;
}

/** Places of the panels, three to a row. */
const panel = { width: 290, height: 250, columns: 3 };

/** Quality against speed-up, one point for each way to run the model and one panel for each length, as an SVG. */
export function qualityPicture({ results }: QualityAtLength): string {
  const measured = results.filter(isMeasured);
  const placed = measured.map((result, i) => ({
    ...result,
    index: i,
    left: (i % panel.columns) * panel.width,
    top: Math.floor(i / panel.columns) * panel.height,
  }));
  const rows = Math.ceil((placed.length + 1) / panel.columns);
  const names = measured[0]!.models.map(({ name }) => name);
  const free = { left: (placed.length % panel.columns) * panel.width, top: (rows - 1) * panel.height };
  return drawn({
    width: panel.columns * panel.width,
    height: rows * panel.height,
    id: "quality",
    words: placed
      .map(({ length, models }) => `${count(length)} tokens: ${models.map(inWords(models[0]!)).join("; ")}.`)
      .join(" "),
    option: {
      title: placed.map(({ length, left, top }) => title(`${count(length)} tokens`, left + 12, top + 6)),
      legend: {
        data: names,
        left: free.left + 30,
        top: free.top + 50,
        orient: "vertical",
        selectedMode: false,
        textStyle: text,
      },
      grid: placed.map(({ left, top }) => ({
        left: left + 58,
        top: top + 40,
        width: panel.width - 80,
        height: panel.height - 92,
        outerBoundsMode: "none",
      })),
      xAxis: placed.map(({ index }) => ({
        ...axis,
        gridIndex: index,
        type: "log",
        logBase: 2,
        min: 0.5,
        max: 16,
        name: "times as fast as softmax",
        nameLocation: "middle",
        nameGap: 26,
        axisLabel: { ...text, formatter: "{value} x" },
      })),
      yAxis: placed.map(({ index }) => ({
        ...axis,
        gridIndex: index,
        type: "value",
        min: 0,
        max: 100,
        axisLabel: { ...text, formatter: "{value} %" },
      })),
      series: placed.flatMap(({ index, models }) =>
        models.map((model) => ({
          type: "scatter",
          silent: true,
          name: model.name,
          xAxisIndex: index,
          yAxisIndex: index,
          symbol: looks[model.name]!.symbol,
          symbolSize: 12,
          itemStyle: { color: looks[model.name]!.colour },
          data: [[models[0]!.seconds / model.seconds, 100 * (model.kept?.value ?? 1)]],
        })),
      ),
    },
  });
}

const inWords =
  (softmax: ModelResult) =>
  ({ name, kept, seconds }: ModelResult): string =>
    `${name} keeps ${share(kept?.value ?? 1)} at ${times(softmax.seconds / seconds)} times the speed`;
