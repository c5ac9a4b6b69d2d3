import yargs from "yargs";
import type { Argv } from "yargs";

import { UsageError } from "../errors.ts";

/** What --help or --version prints. */
export interface HelpText {
  readonly help: string;
}

/**
 * Parses a command line (without the program's name) as every tool of the family does: unknown options are errors, the
 * last of repeated options counts, there is no `--no-`.
 *
 * @param program - its name and version.
 * @param describe - gives the parser its usage, commands and options; a command's handler calls `found` with what is
 * to be done.
 * @throws {UsageError} `bad-arguments`: an unknown option or command, a missing or malformed value.
 */
export async function parseCommandLine<Command>(
  argv: readonly string[],
  program: { readonly name: string; readonly version: string },
  describe: (parser: Argv, found: (command: Command) => void) => Argv,
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
      const found = (message ?? error.message).replace(/\.$/, "");
      throw new UsageError(`${found}. See ${program.name} --help.`, { code: "bad-arguments" });
    });
  await parser.parseAsync([...argv], {}, (_error: unknown, _arguments: unknown, output: string) => {
    help += output;
  });
  return command ?? { help };
}
