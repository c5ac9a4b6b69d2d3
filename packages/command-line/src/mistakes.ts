import { distance } from "fastest-levenshtein";

/** The names that the help lists. */
interface Known {
  readonly options: readonly string[];
  readonly commands: readonly string[];
  /** Names of the required arguments, in order. */
  readonly positionals: readonly string[];
}

/** Finds the names in the help of a command. */
export function knownIn(help: string): Known {
  const [usage = ""] = help.split("\n");
  return {
    options: [...help.matchAll(/^ +(?:-\w, )?--([a-z][a-z-]*)/gm)].map(([, name]) => name!),
    commands: [...help.matchAll(/^ {2}[\w-]+ ([a-z]+) /gm)].map(([, name]) => name!),
    positionals: [...usage.replace(/ -.*/, "").matchAll(/<([^>]+)>/g)].map(([, name]) => name!),
  };
}

/** Whether two words have the same letters: exchanging two is a common slip, and counts as two edits. */
function hasSameLetters(a: string, b: string): boolean {
  return [...a].toSorted().join("") === [...b].toSorted().join("");
}

/** The name closest to `name`: one that it abbreviates, or one that differs in a few letters or in their order. */
function nearest(name: string, names: readonly string[]): string | undefined {
  const within = Math.max(1, Math.floor(name.length / 3));
  const begun = names.filter((each) => name.length > 2 && each.startsWith(name));
  const near = names.filter((each) => distance(name, each) <= within || hasSameLetters(name, each));
  return begun[0] ?? near.toSorted((a, b) => distance(name, a) - distance(name, b))[0];
}

function meant(name: string | undefined): string {
  return name === undefined ? "" : ` (did you mean ${name}?)`;
}

/**
 * Says what is wrong with a command line, in terms of what the user typed.
 *
 * @param complaint - the message of yargs.
 * @param argv - what the user typed.
 * @param help - the help of the command.
 */
export function describeMistake(complaint: string, argv: readonly string[], help: string): string {
  const known = knownIn(help);
  const [, unknown] = /^Unknown arguments?: (.+)$/.exec(complaint) ?? [];
  if (unknown !== undefined) return describeUnknown(unknown.split(", "), argv, known) ?? complaint;
  const [, required] = /^Missing required arguments?: (.+)$/.exec(complaint) ?? [];
  if (required !== undefined) {
    const names = required.split(", ").map((name) => `--${name}`);
    return `${names.join(" and ")} ${names.length === 1 ? "is" : "are"} missing`;
  }
  const [, empty] = /^Not enough arguments following: (.+)$/.exec(complaint) ?? [];
  if (empty !== undefined) return `${empty.length === 1 ? "-" : "--"}${empty} needs a value`;
  const [, got] = /^Not enough non-option arguments: got (\d+)/.exec(complaint) ?? [];
  const missing = known.positionals.slice(Number(got)).map((name) => `<${name}>`);
  if (got !== undefined && missing.length > 0) {
    return `${missing.join(" and ")} ${missing.length === 1 ? "is" : "are"} missing`;
  }
  const [, option, given, choices] =
    /^Invalid values:\s+Argument: (.+), Given: "(.*)", Choices: (.+)$/s.exec(complaint) ?? [];
  if (choices === undefined) return complaint;
  const values = [...choices.matchAll(/"([^"]*)"/g)].map(([, value]) => value!);
  return `--${option} takes one of ${values.join(", ")}; found "${given}"${meant(nearest(given!, values))}`;
}

/** Undefined if none of the names appears on the command line. */
function describeUnknown(
  names: readonly string[],
  argv: readonly string[],
  { options, commands }: Known,
): string | undefined {
  const described = names.flatMap((name) => {
    const written = argv.find((each) => /^--?([^=]+)/.exec(each)?.[1] === name);
    if (written === undefined) return [];
    const near = nearest(name, options);
    return [`Unknown option ${/^--?[^=]+/.exec(written)![0]}${meant(near === undefined ? near : `--${near}`)}`];
  });
  if (described.length > 0) return described.join("; ");
  const [first = ""] = argv;
  const command = nearest(first, commands);
  if (command !== undefined && command !== first) return `Unknown command "${first}"${meant(command)}`;
  const stray = names.filter((name) => argv.includes(name));
  return stray.length === 0 ? undefined : `${stray.map((name) => JSON.stringify(name)).join(", ")}: unexpected here`;
}
