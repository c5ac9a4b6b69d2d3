/** What `lossless.json` holds. `lossless.ts` measures it, and `lossless-browser.ts` what is under `browser`. */
export interface LosslessFile {
  readonly machine: Machine;
  readonly results: readonly LosslessResult[];
  readonly browser?: BrowserFile;
}

interface Machine {
  readonly processor: string;
  readonly processors: number;
  readonly threads: number;
  readonly node: string;
}

/** What `lossless-browser.ts` measures. */
export interface BrowserFile {
  readonly machine: {
    readonly processor: string;
    /** With its version. */
    readonly browser: string;
    readonly onnxruntimeWeb: string;
    readonly threads: number;
  };
  readonly results: readonly BrowserResult[];
}

/** One form of a model, by ascending length; if its last pass failed, no longer one was tried. */
export interface BrowserResult {
  readonly title: string;
  readonly variant: string;
  readonly passes: readonly ({ readonly length: number } & BrowserOutcome)[];
}

/** Seconds of one pass and all of WebAssembly's memory after it, the model included, or the runtime's message. */
export type BrowserOutcome = { readonly seconds: number; readonly megabytes: number } | { readonly failure: string };

/** One model at one length, in all its forms; the first is the exporter's. */
export interface LosslessResult {
  readonly title: string;
  /** In tokens. */
  readonly length: number;
  readonly passes: readonly LosslessPass[];
  /** Where it was measured, if that is not the file's machine. */
  readonly machine?: Machine;
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

/** A table for each model in the browser: what each form took at each length, or that it failed there. */
export function browserTables({ results }: BrowserFile): string {
  const titles = [...new Set(results.map(({ title }) => title))];
  return titles
    .map((title) => {
      const forms = results.filter((result) => result.title === title);
      const lengths = [...new Set(forms.flatMap(({ passes }) => passes.map(({ length }) => length)))];
      return [
        `**${title}**`,
        "",
        row(["tokens", ...forms.map(({ variant }) => variant)]),
        row(["--:", ...forms.map(() => "--:")]),
        ...lengths
          .toSorted((a, b) => a - b)
          .map((length) =>
            row([length.toLocaleString("en"), ...forms.map(({ passes }) => browserCell(passes, length))]),
          ),
      ].join("\n");
    })
    .join("\n\n");
}

function browserCell(passes: BrowserResult["passes"], length: number): string {
  const pass = passes.find((each) => each.length === length);
  const hasFailed = passes.some((each) => "failure" in each && each.length < length);
  if (pass === undefined) return hasFailed ? "-" : "not tried";
  return "failure" in pass ? "fails" : `${secondsText(pass.seconds)}, ${pass.megabytes.toFixed(0)} MB`;
}

const secondsText = (seconds: number): string =>
  seconds < 1
    ? `${(1000 * seconds).toFixed(0)} ms`
    : `${seconds < 1000 ? seconds.toPrecision(3) : seconds.toFixed(0)} s`;

const row = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;

/** Seconds and megabytes; with another pass to compare to, also the shares of its own. */
function cell(pass: LosslessPass, to?: LosslessPass): string {
  const { seconds, megabytes } = pass;
  if (seconds === null || megabytes === null) return "not measured";
  const time = secondsText(seconds);
  const memory = megabytes < leastMegabytes ? `under ${leastMegabytes} MB` : `${megabytes.toFixed(0)} MB`;
  if (to === undefined || to.seconds === null || to.megabytes === null) return `${time}, ${memory}`;
  const share = megabytes < leastMegabytes ? "" : `, 1/${(to.megabytes / megabytes).toFixed(1)}`;
  return `${time} (${(seconds / to.seconds).toFixed(2)}), ${memory}${share}`;
}
