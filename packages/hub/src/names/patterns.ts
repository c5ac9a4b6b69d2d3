import { HubNameError } from "../errors.ts";

/** One or several shell patterns. */
export type Patterns = string | readonly string[];

/**
 * A filter of paths by allow and ignore patterns, with the rules of huggingface_hub: Python's `fnmatch`, case
 * sensitive, where `*` also matches `/`; a pattern that ends with `/` means everything below that folder. A path
 * passes when it matches some allow pattern (all do, without one) and no ignore pattern.
 *
 * @throws HubNameError when a pattern is malformed
 */
export function pathFilter(allow?: Patterns, ignore?: Patterns): (path: string) => boolean {
  const allowed = allow === undefined ? undefined : compile(allow);
  const ignored = ignore === undefined ? [] : compile(ignore);
  return (path) =>
    (allowed === undefined || allowed.some((pattern) => pattern.test(path))) &&
    !ignored.some((pattern) => pattern.test(path));
}

function compile(patterns: Patterns): RegExp[] {
  return (typeof patterns === "string" ? [patterns] : patterns).map((pattern) => {
    const normal = pattern.replaceAll("\\", "/");
    return fnmatch(normal.endsWith("/") ? `${normal}*` : normal);
  });
}

/**
 * Python's `fnmatch.translate`: `*`, `?`, `[seq]`, `[!seq]`; an unclosed bracket is literal. As there, each `*` but the
 * last takes the shortest text that lets what follows match and is never tried again (a look-ahead captured and
 * repeated), so that many stars do not take exponential time.
 */
function fnmatch(pattern: string): RegExp {
  const [first = "", ...rest] = starSeparated(pattern);
  const last = rest.pop();
  const middle = rest.filter((part) => part !== "").map((part, index) => `(?=(.*?${part}))\\${index + 1}`);
  const source = first + middle.join("") + (last === undefined ? "" : `.*${last}`);
  try {
    return new RegExp(`^${source}$`, "s");
  } catch {
    throw new HubNameError(`Pattern ${JSON.stringify(pattern)} is not valid: a range such as [z-a] runs backwards.`, {
      pattern,
    });
  }
}

/** The parts between the stars, as sources of regular expressions. */
function starSeparated(pattern: string): string[] {
  const parts = [""];
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern[at]!;
    if (char === "*") {
      parts.push("");
      continue;
    }
    // A bracket that comes first, after `!` or not, closes nothing.
    const bracket = char === "[" ? /^\[(?:![^]|[^!])[^\]]*\]/.exec(pattern.slice(at))?.[0] : undefined;
    if (bracket !== undefined) at += bracket.length - 1;
    parts[parts.length - 1] += bracket === undefined ? literal(char) : set(bracket);
  }
  return parts;
}

function literal(char: string): string {
  return char === "?" ? "." : char.replace(/[.+^${}()|\\/[\]]/, "\\$&");
}

function set(bracket: string): string {
  const negated = bracket.startsWith("[!");
  const members = bracket.slice(negated ? 2 : 1, -1).replace(/[\\\]^[]/g, "\\$&");
  return `[${negated ? "^" : ""}${members}]`;
}
