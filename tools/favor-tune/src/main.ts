import { FavorError } from "@favor/core";
import { progressOn, silent } from "favor-convert";

import { parseArguments } from "./arguments.ts";
import type { Command } from "./arguments.ts";
import { exitCode, exitCodeOf } from "./exit-code.ts";

/** What the command line talks to. */
export interface Terminal {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/**
 * The command line, as a function: parses the arguments, tunes, prints the result on stdout and everything else on
 * stderr.
 *
 * @param argv - the arguments, without the program's name.
 * @returns the exit code: 0 done, 1 training or disk failed, 2 usage, 3 bad input, 130 or 143 interrupted.
 */
export async function main(argv: readonly string[], terminal: Terminal): Promise<number> {
  // `favor-tune ... | head` closes our stdout: that is the reader's choice, not an error.
  terminal.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
  let command: Command | undefined;
  try {
    command = await parseArguments(argv);
    const { stdout, stderr, environment } = terminal;
    if (command.command === "text") {
      stdout.write(`${command.text}\n`);
      return exitCode.done;
    }
    const { json, quiet, request } = command;
    // Loaded when it is needed: tfjs and onnxruntime are large.
    const { tune, tuningText } = await import("./index.ts");
    const result = await tune(request, quiet ? silent : progressOn(stderr, environment));
    stdout.write(`${json ? JSON.stringify(result, undefined, 2) : tuningText(result)}\n`);
    return exitCode.done;
  } catch (error) {
    report(error, argv.includes("--json"), terminal);
    return exitCodeOf(error);
  }
}

/** The error in one paragraph on stderr, and as JSON on stdout if JSON was asked for. */
function report(error: unknown, json: boolean, { stdout, stderr, environment }: Terminal): void {
  const known = FavorError.isInstance(error);
  const message = (error instanceof Error ? error.message : String(error)).replaceAll(/\s*\n\s*/g, " ").trim();
  stderr.write(known ? `favor-tune: ${message}\n` : `favor-tune: unexpected: ${message}\n`);
  if (!known || environment["FAVOR_DEBUG"] !== undefined) {
    if (error instanceof Error) stderr.write(`${error.stack ?? ""}\n`);
    if (!known) stderr.write("This is a fault of favor-tune. Please report it with the lines above.\n");
  }
  if (!json) return;
  const { code, details } = known ? error : { code: "unexpected", details: {} };
  stdout.write(`${JSON.stringify({ error: { code, message, details } }, undefined, 2)}\n`);
}
