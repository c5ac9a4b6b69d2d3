/** What `lossless.json` holds; `lossless.ts` measures it. */
export interface LosslessFile {
  readonly machine: {
    readonly processor: string;
    readonly processors: number;
    readonly threads: number;
    readonly node: string;
  };
  readonly results: readonly LosslessResult[];
}

/** One model at one length, in all its forms; the first is the exporter's. */
export interface LosslessResult {
  readonly title: string;
  /** In tokens. */
  readonly length: number;
  readonly passes: readonly LosslessPass[];
}

interface LosslessPass {
  readonly variant: string;
  /** Null where it was not measured. */
  readonly seconds: number | null;
  /** Above the loaded model. */
  readonly megabytes: number | null;
}

/** Memory below this is about what a pass of any length takes. */
const leastMegabytes = 10;

/** A table for each model: the first form's time and memory by length, and those of the others as shares of it. */
export function losslessTables({ results }: LosslessFile): string {
  const titles = [...new Set(results.map(({ title }) => title))];
  return titles.map((title) => table(results.filter((result) => result.title === title))).join("\n\n");
}

function table(results: readonly LosslessResult[]): string {
  const [{ title, passes }] = results as [LosslessResult];
  return [
    `**${title}**`,
    "",
    row(["tokens", ...passes.map(({ variant }) => variant)]),
    row(["--:", ...passes.map(() => "--:")]),
    ...results.map(({ length, passes: [first, ...others] }) =>
      row([length.toLocaleString("en"), cell(first!), ...others.map((pass) => cell(pass, first))]),
    ),
  ].join("\n");
}

const row = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;

/** Seconds and megabytes; with another pass to compare to, also the shares of its own. */
function cell(pass: LosslessPass, to?: LosslessPass): string {
  const { seconds, megabytes } = pass;
  if (seconds === null || megabytes === null) return "not measured";
  const time = `${seconds < 1 ? `${(1000 * seconds).toFixed(0)} ms` : `${seconds.toPrecision(3)} s`}`;
  const memory = megabytes < leastMegabytes ? `under ${leastMegabytes} MB` : `${megabytes.toFixed(0)} MB`;
  if (to === undefined || to.seconds === null || to.megabytes === null) return `${time}, ${memory}`;
  const share = megabytes < leastMegabytes ? "" : `, 1/${(to.megabytes / megabytes).toFixed(1)}`;
  return `${time} (${(seconds / to.seconds).toFixed(2)}), ${memory}${share}`;
}
