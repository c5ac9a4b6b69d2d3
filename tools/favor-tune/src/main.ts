import { exitCode, runProgram } from "@favor/command-line";
import type { Print, Terminal } from "@favor/command-line";
import type { Progress } from "@favor/checkpoints";

import { parseArguments } from "./arguments.ts";
import type { Command } from "./arguments.ts";
import { exitCodeOf } from "./exit-code.ts";

/**
 * The command line as a function: parses the arguments, tunes, and prints the result to stdout and everything else to
 * stderr.
 *
 * @param argv - the arguments, without the program's name.
 * @returns the exit code: 0 done, 1 training or disk failed, 2 usage, 3 bad input, 129, 130 or 143 interrupted.
 */
export async function main(argv: readonly string[], terminal: Terminal): Promise<number> {
  return runProgram({ name: "favor-tune", parse: parseArguments, run, exitCodeOf }, argv, terminal);
}

async function run({ request }: Command, progress: Progress, print: Print): Promise<number> {
  // Loaded on demand, because tfjs and onnxruntime are large.
  const { tune, tuningJson, tuningText } = await import("./index.ts");
  const result = await tune(request, progress);
  print(result, tuningText, tuningJson);
  return exitCode.done;
}
