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

/** Python's `fnmatch.translate`: `*`, `?`, `[seq]`, `[!seq]`; an unclosed bracket is literal. */
function fnmatch(pattern: string): RegExp {
  let source = "";
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern[at]!;
    if (char === "*") {
      // Runs of stars mean one: kept apart they would backtrack exponentially.
      while (pattern[at + 1] === "*") at++;
      source += ".*";
    } else if (char === "?") {
      source += ".";
    } else if (char === "[") {
      let end = at + 1;
      if (pattern[end] === "!") end++;
      if (pattern[end] === "]") end++;
      while (end < pattern.length && pattern[end] !== "]") end++;
      if (end >= pattern.length) {
        source += "\\[";
      } else {
        const body = pattern.slice(at + 1, end);
        const negated = body.startsWith("!");
        const members = (negated ? body.slice(1) : body).replace(/[\\\]^[]/g, "\\$&");
        source += `[${negated ? "^" : ""}${members}]`;
        at = end;
      }
    } else {
      source += char.replace(/[.+^${}()|\\/\]]/g, "\\$&");
    }
  }
  try {
    return new RegExp(`^${source}$`, "s");
  } catch {
    throw new HubNameError(`Pattern ${JSON.stringify(pattern)} is not valid: a range such as [z-a] runs backwards.`, {
      pattern,
    });
  }
}
