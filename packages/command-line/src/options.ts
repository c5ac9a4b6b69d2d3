import { UsageError } from "@favor/checkpoints";

/** How every tool lets its user say how the answer is given. */
export const presentation: {
  readonly [name in "json" | "quiet"]: { readonly type: "boolean"; readonly default: false; readonly describe: string };
} = {
  json: { type: "boolean", default: false, describe: "print the result as JSON" },
  quiet: { type: "boolean", default: false, describe: "no progress" },
};

/** An option with a number. */
export interface NumberOption {
  readonly number: true;
  readonly describe: string;
  readonly coerce: (value: unknown) => number | undefined;
}

/** An option with a text. */
export interface TextOption {
  readonly string: true;
  readonly describe: string;
  readonly coerce: (value: unknown) => string | undefined;
}

/** An option with a text that must be given. */
export interface RequiredTextOption {
  readonly string: true;
  readonly demandOption: true;
  readonly describe: string;
  readonly coerce: (value: unknown) => string;
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
    const found = Number.isNaN(value) ? "something that is no number" : JSON.stringify(value);
    throw bad(`--${name} takes ${what} from ${minimum} to ${maximum}, found ${found}.`);
  };
  return { number: true, describe, coerce };
}

/** An option that takes a path. */
export function path(name: string, describe: string): TextOption {
  return textOf(name, "a path", describe);
}

/** An option that must be given, with a path. */
export function requiredPath(name: string, describe: string): RequiredTextOption {
  return { string: true, demandOption: true, describe, coerce: (value) => someText(name, "a path", value) };
}

/** The option `--column` of everything that reads data files. */
export const column: TextOption = textOf(
  "column",
  "a name",
  "field of JSON Lines, or column of Parquet, with the text [default: text]",
);

function textOf(name: string, what: string, describe: string): TextOption {
  const coerce = (value: unknown): string | undefined => (value === undefined ? value : someText(name, what, value));
  return { string: true, describe, coerce };
}

function someText(name: string, what: string, value: unknown): string {
  if (typeof value === "string" && value !== "") return value;
  // A single "-" comes here as nothing.
  const found = value === "" ? 'found none (a "-" for standard input is not taken)' : `found ${JSON.stringify(value)}`;
  throw bad(`--${name} takes ${what}, ${found}.`);
}

function bad(message: string): UsageError {
  return new UsageError(message, { code: "bad-arguments" });
}

/** `object` without the entries that are undefined. */
export function defined<T extends object>(object: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(object).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}
