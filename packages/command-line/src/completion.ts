import { knownIn } from "./mistakes.ts";

/**
 * The words that complete a command line, one per line; none where the shell should complete the name of a file.
 *
 * @param words - what was typed after the program's name; the last one is to be completed, and may be empty.
 * @param helpOf - the help of a command line. (yargs itself does not complete the options of commands.)
 */
export async function completionsOf(
  words: readonly string[],
  helpOf: (words: readonly string[]) => Promise<string>,
): Promise<string> {
  const current = words.at(-1) ?? "";
  const { commands } = knownIn(await helpOf([]));
  if (!current.startsWith("-"))
    return words.length > 1 ? "" : commands.filter((each) => each.startsWith(current)).join("\n");
  const { options } = knownIn(await helpOf(words.filter((word) => commands.includes(word)).slice(0, 1)));
  const open = options.map((name) => `--${name}`).filter((option) => !words.slice(0, -1).includes(option));
  return open.filter((option) => option.startsWith(current)).join("\n");
}
