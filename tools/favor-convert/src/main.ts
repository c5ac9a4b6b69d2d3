import { parseArguments } from "./arguments.ts";
import type { Command } from "./arguments.ts";
import { exitCode, exitCodeOf } from "@favor/command-line";
import { runProgram } from "@favor/command-line";
import type { Print, Terminal } from "@favor/command-line";
import type { Progress } from "@favor/checkpoints";

/**
 * The command line as a function: parses the arguments, runs the command, and prints the result to stdout and everything
 * else to stderr.
 *
 * @param argv - the arguments, without the program's name.
 * @returns the exit code: 0 done, 1 unexpected, 2 usage, 3 bad input or nothing convertible, 4 verification failed.
 */
export async function main(argv: readonly string[], terminal: Terminal): Promise<number> {
  return runProgram({ name: "favor-convert", parse: parseArguments, run, exitCodeOf }, argv, terminal);
}

async function run(command: Command, progress: Progress, print: Print): Promise<number> {
  // Commands are loaded on demand, because onnxruntime and the charts are large.
  const { conversionJson, conversionText, inspectionText, verificationText } = await import("./presentation.ts");
  switch (command.command) {
    case "inspect": {
      const { inspect } = await import("./commands/inspect.ts");
      const result = await inspect(command.source, command.options, progress);
      print(result, inspectionText);
      return exitCode.done;
    }
    case "verify": {
      const { verify } = await import("./commands/verify.ts");
      const result = await verify(command.request, progress);
      print(result, verificationText);
      return result.passed ? exitCode.done : exitCode.verification;
    }
    case "advise": {
      const [{ advise }, { adviceText }] = await Promise.all([
        import("./advise/advise.ts"),
        import("./advise/advice-text.ts"),
      ]);
      const result = await advise(command.request, progress);
      print(result, adviceText);
      return exitCode.done;
    }
    case "convert": {
      const { convert } = await import("./commands/convert.ts");
      const result = await convert(command.request, progress);
      print(result, conversionText, conversionJson);
      return exitCode.done;
    }
  }
}
