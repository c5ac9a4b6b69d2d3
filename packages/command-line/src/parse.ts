import yargs from "yargs";
import type { Argv } from "yargs";

import { UsageError } from "@favor/checkpoints";

/** The output of --help or --version. */
export interface HelpText {
  readonly help: string;
}

/**
 * Parses a command line (without the program's name). Unknown options are errors, the last of repeated options counts,
 * and there is no `--no-` prefix.
 *
 * @param program - its name and version.
 * @param describe - adds usage, commands and options to the parser; a command's handler calls `found` with the result.
 * @throws {UsageError} `bad-arguments`: an unknown option or command, a missing or malformed value.
 */
export async function parseCommandLine<Command>(
  argv: readonly string[],
  program: Program,
  describe: Describe<Command>,
): Promise<Command | HelpText> {
  let complaint: string;
  try {
    return await parsed(argv, program, describe);
  } catch (error) {
    if (!(error instanceof Complaint)) throw error;
    complaint = error.message;
  }
  const { describeMistake } = await import("./mistakes.ts");
  const asked = await parsed(
    [...argv.slice(0, 1).filter((word) => !word.startsWith("-")), "--help"],
    program,
    describe,
  );
  const help = typeof asked === "object" && asked !== null && "help" in asked ? String(asked.help) : "";
  throw new UsageError(`${describeMistake(complaint, argv, help)}. See ${program.name} --help.`, {
    code: "bad-arguments",
  });
}

interface Program {
  readonly name: string;
  readonly version: string;
}

type Describe<Command> = (parser: Argv, found: (command: Command) => void) => Argv;

/** An error that yargs reports. */
class Complaint extends Error {}

async function parsed<Command>(
  argv: readonly string[],
  program: Program,
  describe: Describe<Command>,
): Promise<Command | HelpText> {
  let command: Command | undefined;
  let help = "";
  const parser = describe(yargs([]).scriptName(program.name), (found) => (command = found))
    .parserConfiguration({
      "duplicate-arguments-array": false,
      "boolean-negation": false,
      "parse-positional-numbers": false,
    })
    .strict()
    .locale("en")
    .wrap(100)
    .version(program.version)
    .help()
    .exitProcess(false)
    .fail((message, error) => {
      throw new Complaint((message ?? error.message).replace(/\.$/, ""));
    });
  await parser.parseAsync([...argv], {}, (_error: unknown, _arguments: unknown, output: string) => {
    help += output;
  });
  return command ?? { help };
}
