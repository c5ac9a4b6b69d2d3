import { FavorError } from "@favor/core";

import { messageOf } from "@favor/checkpoints";
import { progressOn, warningsOn } from "./terminal-progress.ts";
import type { Progress } from "@favor/checkpoints";
import { exitCode } from "./exit-code.ts";
import type { HelpText } from "./parse.ts";

/** What the command line talks to. */
export interface Terminal {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** How the answer is given. */
export interface Presentation {
  /** As JSON, not as text. */
  readonly json: boolean;
  /** Without progress. */
  readonly quiet: boolean;
}

/** Prints a result: the object where JSON was asked for, else the text. */
export type Print = (result: object, text: () => string) => void;

/** A tool of the family. */
export interface Program<Command extends Presentation> {
  readonly name: string;
  /** What the arguments, without the program's name, ask for. */
  readonly parse: (argv: readonly string[]) => Promise<Command | HelpText>;
  /** Does it; returns the exit code. */
  readonly run: (command: Command, progress: Progress, print: Print) => Promise<number>;
  readonly exitCodeOf: (error: unknown) => number;
}

/**
 * Runs a command line: the result, and nothing else, goes to stdout; progress and errors go to stderr, an error in one
 * paragraph, and with `--json` on stdout as well. `FAVOR_DEBUG` in the environment adds the stack.
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
  // `favor-convert ... | head` closes our stdout: that is the reader's choice, not an error.
  stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
  let command: Command | HelpText | undefined;
  try {
    command = await program.parse(argv);
    if ("help" in command) {
      stdout.write(`${command.help}\n`);
      return exitCode.done;
    }
    const { json, quiet } = command;
    return await program.run(command, quiet ? warningsOn(stderr) : progressOn(stderr, environment), (result, text) => {
      stdout.write(`${json ? asJson(result) : text()}\n`);
    });
  } catch (error) {
    // Arguments that cannot be parsed cannot say how the answer is wanted.
    const json = command === undefined ? argv.includes("--json") : "json" in command && command.json;
    printError(program.name, error, json, terminal);
    return program.exitCodeOf(error);
  }
}

function printError(name: string, error: unknown, json: boolean, { stdout, stderr, environment }: Terminal): void {
  const known = FavorError.isInstance(error);
  const message = messageOf(error);
  stderr.write(known ? `${name}: ${message}\n` : `${name}: unexpected: ${message}\n`);
  if (!known || environment["FAVOR_DEBUG"] !== undefined) {
    if (error instanceof Error) stderr.write(`${error.stack ?? ""}\n`);
    if (!known) stderr.write(`This is a fault of ${name}. Please report it with the lines above.\n`);
  }
  if (!json) return;
  const { code, details } = known ? error : { code: "unexpected", details: {} };
  stdout.write(`${asJson({ error: { code, message, details } })}\n`);
}

function asJson(value: object): string {
  return JSON.stringify(value, undefined, 2);
}
