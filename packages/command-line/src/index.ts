export { exitCode, exitCodeOf } from "./exit-code.ts";
export {
  choice,
  column,
  dataFile,
  defined,
  flag,
  grouped,
  outputFolder,
  path,
  positional,
  presentation,
  realNumber,
  refuseIf,
  requiredDataFile,
  requiredPath,
  textOf,
  threads,
  wholeNumber,
} from "./options.ts";
export type { Choice, Flag, NumberOption, Positional, RequiredTextOption, TextOption } from "./options.ts";
export { parseCommandLine } from "./parse.ts";
export type { HelpText } from "./parse.ts";
export { installedVersions } from "./installed-versions.ts";
export { runProcess, runProgram } from "./program.ts";
export type { Presentation, Print, Program, Terminal } from "./program.ts";
export { duration } from "./duration.ts";
export { progressOn } from "./terminal-progress.ts";
export { textTable } from "./text-table.ts";
export { wrapped } from "./wrap.ts";
