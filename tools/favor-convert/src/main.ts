import { FavorError } from "@favor/core";

import { parseArguments } from "./arguments.ts";
import type { Command } from "./arguments.ts";
import { messageOf } from "./errors.ts";
import { exitCode, exitCodeOf } from "./exit-code.ts";
import { progressOn, silent } from "./progress/progress.ts";
import type { Progress } from "./progress/progress.ts";

/** What the command line talks to. */
export interface Terminal {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/**
 * The command line, as a function: parses the arguments, runs the command, prints the result on stdout and everything
 * else on stderr.
 *
 * @param argv - the arguments, without the program's name.
 * @returns the exit code: 0 done, 1 unexpected, 2 usage, 3 bad input or nothing convertible, 4 verification failed.
 */
export async function main(argv: readonly string[], terminal: Terminal): Promise<number> {
  // `favor-convert ... | head` closes our stdout: that is the reader's choice, not an error.
  terminal.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
  let command: Command | undefined;
  try {
    command = await parseArguments(argv);
    return await run(command, terminal);
  } catch (error) {
    const json = command?.json ?? argv.includes("--json");
    report(error, json, terminal);
    return exitCodeOf(error);
  }
}

async function run(command: Command, { stdout, stderr, environment }: Terminal): Promise<number> {
  if (command.command === "text") {
    stdout.write(`${command.text}\n`);
    return exitCode.done;
  }
  const progress: Progress = command.quiet ? silent : progressOn(stderr, environment);
  const print = (result: object, text: () => string): void => {
    stdout.write(`${command.json ? JSON.stringify(result, undefined, 2) : text()}\n`);
  };
  // Commands are loaded when they are run: onnxruntime and the charts are large.
  const { conversionText, inspectionText, verificationText } = await import("./presentation.ts");
  switch (command.command) {
    case "inspect": {
      const { inspect } = await import("./commands/inspect.ts");
      const result = await inspect(command.source, command.options, progress);
      print(result, () => inspectionText(result));
      return exitCode.done;
    }
    case "verify": {
      const { verify } = await import("./commands/verify.ts");
      const result = await verify(command.request, progress);
      print(result, () => verificationText(result));
      return result.passed ? exitCode.done : exitCode.verification;
    }
    case "convert": {
      const { convert } = await import("./commands/convert.ts");
      const result = await convert(command.request, progress);
      print(result, () => conversionText(result));
      return exitCode.done;
    }
  }
}

/** The error in one paragraph on stderr, and as JSON on stdout if JSON was asked for. */
function report(error: unknown, json: boolean, { stdout, stderr, environment }: Terminal): void {
  const known = FavorError.isInstance(error);
  const message = messageOf(error);
  stderr.write(known ? `favor-convert: ${message}\n` : `favor-convert: unexpected: ${message}\n`);
  if (!known || environment["FAVOR_DEBUG"] !== undefined) {
    if (error instanceof Error) stderr.write(`${error.stack ?? ""}\n`);
    if (!known) stderr.write("This is a fault of favor-convert. Please report it with the lines above.\n");
  }
  if (!json) return;
  const { code, details } = known ? error : { code: "unexpected", details: {} };
  stdout.write(`${JSON.stringify({ error: { code, message, details } }, undefined, 2)}\n`);
}
