import { FavorError } from "@favor/core";

import { messageOf, visibleJson, visibleLines, visibleObject, visibleText } from "@favor/checkpoints";
import { columnsOf } from "./wrap.ts";
import { progressOn, warningsOn } from "./terminal-progress.ts";
import type { Progress } from "@favor/checkpoints";
import { exitCode } from "./exit-code.ts";
import { outOfMemory } from "./out-of-memory.ts";
import type { HelpText } from "./parse.ts";

/** The streams and environment of a command line. */
export interface Terminal {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** How a tool answers. */
export interface Presentation {
  /** Print the result as JSON, not as text; default false. */
  readonly json?: boolean;
  /** Show no progress; default false. */
  readonly quiet?: boolean;
}

/**
 * Prints a result: with `--json` the object, or what `json` makes of it; otherwise the text. `text` gets the result with every character that a
 * terminal would obey or hide written as `\u{1b}`, line ends included, so that a name in a model cannot forge lines.
 */
export type Print = <Result extends object>(
  result: Result,
  text: (result: Result) => string,
  json?: (result: Result) => object,
) => void;

/** A command-line tool. */
export interface Program<Command extends Presentation> {
  readonly name: string;
  /** Parses the arguments, without the program's name. `columns`: the width of the help. */
  readonly parse: (argv: readonly string[], columns: number) => Promise<Command | HelpText>;
  /** Runs the command; returns the exit code. */
  readonly run: (command: Command, progress: Progress, print: Print) => Promise<number>;
  readonly exitCodeOf: (error: unknown) => number;
}

/** What writing to a reader that left gives: a pipe without one, a terminal that was closed, a socket cut off. */
const goneCodes: ReadonlySet<string | undefined> = new Set(["EPIPE", "EIO", "ECONNRESET"]);

/**
 * Runs a command line. Only the result goes to stdout; progress and errors go to stderr. An error is one paragraph; with
 * `--json` it is also printed to stdout, as JSON. `FAVOR_DEBUG` in the environment adds the stack.
 *
 * @param argv - the arguments, without the program's name.
 * @returns the exit code.
 */
export async function runProgram<Command extends Presentation>(
  program: Program<Command>,
  argv: readonly string[],
  terminal: Terminal,
): Promise<number> {
  const { stdout, stderr, environment } = terminal;
  // `favor-convert ... | head` closes stdout early: not an error.
  stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (!goneCodes.has(error.code)) throw error;
  });
  // stderr carries progress and explanations: the work goes on if nobody can read them, and the exit code says how it ended.
  stderr.on("error", () => {});
  let command: Command | HelpText | undefined;
  try {
    command = await program.parse(argv, columnsOf(stdout, environment));
    if ("help" in command) {
      stdout.write(`${command.help}\n`);
      return exitCode.done;
    }
    const { json, quiet } = command;
    return await program.run(
      command,
      quiet === true ? warningsOn(stderr) : progressOn(stderr, environment),
      (result, text, view) => {
        const shown = json === true ? visibleJson(view?.(result) ?? result) : visibleLines(text(visibleObject(result)));
        stdout.write(`${shown}\n`);
      },
    );
  } catch (cause) {
    const error = outOfMemory(cause) ?? cause;
    // If the arguments cannot be parsed, look for --json among them.
    const json = command === undefined ? argv.includes("--json") : "json" in command && command.json === true;
    printError(program.name, error, json, terminal);
    return program.exitCodeOf(error);
  }
}

/**
 * Runs a tool's main function with the process's own arguments, streams and environment, and sets its exit code.
 *
 * @param main - takes the arguments without the program's name; returns the exit code.
 */
export async function runProcess(
  main: (argv: readonly string[], terminal: Terminal) => Promise<number>,
): Promise<void> {
  const { argv, stdout, stderr, env: environment } = process;
  process.exitCode = await main(argv.slice(2), { stdout, stderr, environment });
}

function printError(name: string, error: unknown, json: boolean, { stdout, stderr, environment }: Terminal): void {
  const known = FavorError.isInstance(error);
  const message = visibleText(messageOf(error));
  stderr.write(known ? `${name}: ${message}\n` : `${name}: unexpected: ${message}\n`);
  if (!known || environment["FAVOR_DEBUG"] !== undefined) {
    if (error instanceof Error) stderr.write(`${visibleLines(error.stack ?? "")}\n`);
    if (!known) stderr.write(`This is a bug in ${name}. Please report it with the lines above.\n`);
  }
  if (!json) return;
  const { code, details } = known ? error : { code: "unexpected", details: {} };
  stdout.write(`${visibleJson({ error: { code, message: messageOf(error), details } })}\n`);
}
