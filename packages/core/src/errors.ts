const marker: symbol = Symbol.for("favor.error");

/** Options of every {@link FavorError}: a machine-readable code, where it happened, and what caused it. */
export interface FavorErrorOptions<Code extends string = string> {
  /** Stable, machine-readable; documented in the package's README. */
  readonly code: Code;
  /** Details for programs and for `--json`: names, expected and found values. Plain JSON. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/**
 * The base class of every error that Favor throws on purpose. The message says what was found, where, and what to do.
 * `isInstance` works across copies of this package, for example two versions in one `node_modules`.
 */
export class FavorError<Code extends string = string> extends Error {
  readonly code: Code;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(message: string, options: FavorErrorOptions<Code>) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = options.code;
    this.details = options.details ?? {};
    Object.defineProperty(this, marker, { value: true });
  }

  static isInstance(error: unknown): error is FavorError {
    return typeof error === "object" && error !== null && (error as Record<symbol, unknown>)[marker] === true;
  }
}

/** A value as messages show it: never the numbers of a large array, never "[object Object]". */
function describeFound(found: unknown): string {
  if (typeof found === "string") return JSON.stringify(found);
  if (typeof found === "function") return "a function";
  if (typeof found !== "object" || found === null) return String(found);
  const name = Object.prototype.toString.call(found).slice("[object ".length, -1);
  const { length }: { length?: unknown } = found;
  if (typeof length === "number") return `${name} of ${length}`;
  const keys = Object.keys(found);
  return keys.length === 0 ? "{}" : `an object with ${keys.slice(0, 8).join(", ")}${keys.length > 8 ? ", ..." : ""}`;
}

/** A function got an invalid argument: its name, what was expected and what was found. */
export class ArgumentError extends FavorError<"invalid-argument"> {
  constructor(argument: string, expected: string, found: unknown, cause?: unknown) {
    const shown = describeFound(found);
    super(`${argument}: expected ${expected}, found ${shown}.`, {
      code: "invalid-argument",
      details: { argument, expected, found: shown },
      cause,
    });
  }
}
