import { requireObject } from "./checks.ts";
import { FavorError } from "./errors.ts";

/** The name of every option, which the compiler keeps complete. */
export type OptionNames<Options> = Readonly<Record<keyof Options, true>>;

/**
 * Refuses options that a function would not read: a misspelt one would otherwise act like its default.
 *
 * @param argument What the object is called, such as "options".
 * @param example Shown where there is no object at all.
 * @param elsewhere Where to find options that this function does not have but that one may look for here.
 * @throws ArgumentError if `given` is not an object; FavorError `unknown-option` if it has a property that `names` does
 * not have. The message has the nearest name, and all of them.
 */
export function requireOptions<Options extends object>(
  argument: string,
  given: Options,
  names: Readonly<Record<keyof Options, unknown>>,
  example = "{}",
  elsewhere: Readonly<Record<string, string>> = {},
): void {
  requireObject(argument, given, example);
  const unknown = Object.keys(given).find((name) => !Object.hasOwn(names, name));
  if (unknown === undefined) return;
  const known = Object.keys(names);
  const nearest = nearestName(unknown, known);
  const advice = elsewhere[unknown] ?? (nearest === undefined ? "" : ` Did you mean ${nearest}?`);
  throw new FavorError(`${argument}.${unknown} is not known here.${advice} Known are ${known.join(", ")}.`, {
    code: "unknown-option",
    details: { argument, option: unknown, nearest, known },
  });
}

/** The name that takes the fewest edits, at most half as many as it has letters. */
function nearestName(given: string, names: readonly string[]): string | undefined {
  const edits = names.map((name) => editDistance(given.toLowerCase(), name.toLowerCase()));
  const fewest = Math.min(...edits);
  const nearest = names[edits.indexOf(fewest)];
  return nearest !== undefined && fewest <= nearest.length / 2 ? nearest : undefined;
}

/** Levenshtein's: insertions, deletions and replacements of a letter that turn one word into the other. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, j) => j);
  for (const [i, letter] of [...from].entries()) {
    const next = [i + 1];
    for (let j = 0; j < to.length; j++) {
      next.push(Math.min(row[j + 1]! + 1, next[j]! + 1, row[j]! + (letter === to[j] ? 0 : 1)));
    }
    row = next;
  }
  return row[to.length]!;
}
