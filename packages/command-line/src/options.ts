import { UsageError } from "@favor/checkpoints";

/** An option that is on if it is given. */
export interface Flag {
  readonly type: "boolean";
  readonly describe: string;
}

/** An option with one of several values. */
export interface Choice<Values extends readonly string[]> {
  readonly choices: Values;
  readonly requiresArg: true;
  readonly describe: string;
}

/** An option whose value is a number. */
export interface NumberOption {
  readonly number: true;
  readonly requiresArg: true;
  readonly describe: string;
  readonly coerce: (value: unknown) => number | undefined;
}

/** An option whose value is text. */
export interface TextOption {
  readonly string: true;
  readonly requiresArg: true;
  readonly describe: string;
  readonly coerce: (value: unknown) => string | undefined;
}

/** A required option whose value is text. */
export interface RequiredTextOption {
  readonly string: true;
  readonly requiresArg: true;
  readonly demandOption: true;
  readonly describe: string;
  readonly coerce: (value: unknown) => string;
}

/** An option that is on if it is given. */
export function flag(describe: string): Flag {
  return { type: "boolean", describe };
}

/** An option that takes one of several values. */
export function choice<const Values extends readonly string[]>(choices: Values, describe: string): Choice<Values> {
  return { choices, requiresArg: true, describe };
}

/** An option that takes a whole number from `minimum` to `maximum`. */
export function wholeNumber(name: string, describe: string, minimum: number, maximum: number): NumberOption {
  return numberOf(name, "a whole number", describe, minimum, maximum, Number.isSafeInteger);
}

/** An option that takes a number from `minimum` to `maximum`. */
export function realNumber(name: string, describe: string, minimum: number, maximum: number): NumberOption {
  return numberOf(name, "a number", describe, minimum, maximum, Number.isFinite);
}

function numberOf(
  name: string,
  what: string,
  describe: string,
  minimum: number,
  maximum: number,
  isRight: (value: number) => boolean,
): NumberOption {
  const coerce = (value: unknown): number | undefined => {
    if (value === undefined) return undefined;
    if (typeof value === "number" && isRight(value) && value >= minimum && value <= maximum) return value;
    const found = Number.isNaN(value) ? "something that is not a number" : JSON.stringify(value);
    throw bad(`--${name} takes ${what} from ${minimum} to ${maximum}, found ${found}.`);
  };
  return { number: true, requiresArg: true, describe, coerce };
}

/** An option that takes a path. */
export function path(name: string, describe: string): TextOption {
  return textOf(name, "a path", describe);
}

/** A required option that takes a path. */
export function requiredPath(name: string, describe: string): RequiredTextOption {
  return {
    string: true,
    requiresArg: true,
    demandOption: true,
    describe,
    coerce: (value) => someText(name, "a path", value),
  };
}

/** An option that takes a data file. @param purpose - what the file is for: "to train on". */
export function dataFile(name: string, purpose: string): TextOption {
  return path(name, dataFileText(purpose));
}

/** A required option that takes a data file. */
export function requiredDataFile(name: string, purpose: string): RequiredTextOption {
  return requiredPath(name, dataFileText(purpose));
}

function dataFileText(purpose: string): string {
  return `FASTA, text, JSON, CSV, TSV or Parquet file ${purpose}`;
}

/** `--output`, or `-o`. */
export function outputFolder(describe: string): TextOption & { readonly alias: "o" } {
  return { ...path("output", describe), alias: "o" };
}

/** `--column`, for tools that read data files. */
export const column: TextOption = textOf(
  "column",
  "a name",
  "JSON field, or CSV, TSV or Parquet column, with the text [default: text]",
);

/** `--threads`, for tools that run onnxruntime. */
export const threads: NumberOption = wholeNumber("threads", "onnxruntime threads [default: one per core]", 1, 1024);

/** `--json` and `--quiet`, which every tool has. */
export const presentation: Readonly<Record<"json" | "quiet", Flag>> = {
  json: flag("print the result as JSON"),
  quiet: flag("show no progress"),
};

/** An option that takes text. @param what - what the text is: "a path". */
export function textOf(name: string, what: string, describe: string): TextOption {
  const coerce = (value: unknown): string | undefined => (value === undefined ? value : someText(name, what, value));
  return { string: true, requiresArg: true, describe, coerce };
}

function someText(name: string, what: string, value: unknown): string {
  if (typeof value === "string" && value !== "" && value !== "-") return value;
  // A single "-" may also arrive here as an empty string.
  const isNone = value === "" || value === "-";
  const found = isNone ? 'found none ("-" for standard input is not supported)' : `found ${JSON.stringify(value)}`;
  throw bad(`--${name} takes ${what}, ${found}.`);
}

/** A required argument without an option's name. */
export interface Positional {
  readonly type: "string";
  readonly demandOption: true;
  readonly describe: string;
  readonly coerce: (value: unknown) => string;
}

/** A required argument such as `<source>`. An empty one, as an unset variable of the shell gives, is refused. */
export function positional(name: string, describe: string): Positional {
  const coerce = (value: unknown): string => {
    refuseIf(value === "", `<${name}> is empty. If it comes from a variable of the shell, that may not be set.`);
    return String(value);
  };
  return { type: "string", demandOption: true, describe, coerce };
}

function bad(message: string): UsageError {
  return new UsageError(message, { code: "bad-arguments" });
}

/**
 * Refuses a request whose options contradict each other.
 *
 * @throws {UsageError} `bad-arguments`, if the condition holds.
 */
export function refuseIf(condition: boolean, message: string): void {
  if (condition) throw bad(message);
}

/** Options that the help lists together, under a heading such as "Quality:". */
export function grouped<Options extends Readonly<Record<string, object>>>(
  group: string,
  options: Options,
): { readonly [Name in keyof Options]: Options[Name] & { readonly group: string } } {
  const entries = Object.entries(options).map(([name, option]) => [name, { ...option, group }]);
  return Object.fromEntries(entries) as { [Name in keyof Options]: Options[Name] & { group: string } };
}

/** `object` without the entries that are undefined. */
export function defined<T extends object>(object: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(object).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}
