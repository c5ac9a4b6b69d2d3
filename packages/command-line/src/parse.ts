import yargs from "yargs";
import type { Argv } from "yargs";

import { UsageError } from "@favor/checkpoints";

import { usualColumns } from "./wrap.ts";

/** The output of --help, --version or completion. */
export interface HelpText {
  readonly help: string;
}

/**
 * Parses a command line (without the program's name). Unknown options are errors, the last of repeated options counts,
 * and there is no `--no-` prefix. `-h` and `-V` ask for help and the version; `completion` prints a script with which
 * bash and zsh complete the program's options.
 *
 * @param program - its name and version, and the width of its help.
 * @param describe - adds usage, commands and options to the parser; a command's handler calls `found` with the result.
 * @throws {UsageError} `bad-arguments`: an unknown option or command, a missing or malformed value.
 */
export async function parseCommandLine<Command>(
  argv: readonly string[],
  program: Program,
  describe: Describe<Command>,
): Promise<Command | HelpText> {
  const helpOf = async (words: readonly string[]): Promise<string> => {
    const [command] = words;
    const asked = command === undefined || command.startsWith("-") ? ["--help"] : [command, "--help"];
    const found = await parsed(asked, { ...program, columns: wideEnough }, describe);
    return typeof found === "object" && found !== null && "help" in found ? String(found.help) : "";
  };
  if (argv[0] === completionsAsked) {
    const { completionsOf } = await import("./completion.ts");
    return { help: await completionsOf(argv.slice(2), helpOf) };
  }
  let complaint: string;
  try {
    return await parsed(argv, program, describe);
  } catch (error) {
    if (!(error instanceof Complaint)) throw error;
    complaint = error.message;
  }
  const { describeMistake } = await import("./mistakes.ts");
  throw new UsageError(`${describeMistake(complaint, argv, await helpOf(argv))}. See ${program.name} --help.`, {
    code: "bad-arguments",
  });
}

interface Program {
  readonly name: string;
  readonly version: string;
  /** Width of the help in columns; default 80. */
  readonly columns?: number | undefined;
}

/** Wide enough for the names of all commands on one line each, from which mistakes are described. */
const wideEnough = 100;

type Describe<Command> = (parser: Argv, found: (command: Command) => void) => Argv;

/** What the script of yargs passes before the words typed so far, the program's name among them. */
const completionsAsked = "--get-yargs-completions";

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
    .wrap(program.columns ?? usualColumns)
    .version(program.version)
    .alias("V", "version")
    .describe("version", "print the version")
    .help()
    .alias("h", "help")
    .describe("help", "print this help")
    .command("completion", "print a script that completes options in bash or zsh", {}, () => {
      parser.showCompletionScript();
    })
    .exitProcess(false)
    .fail((message, error) => {
      throw new Complaint((message ?? error.message).replace(/\.$/, ""));
    });
  await parser.parseAsync([...argv], {}, (_error: unknown, _arguments: unknown, output: string) => {
    help += output;
  });
  return command ?? { help: help.trim() };
}
