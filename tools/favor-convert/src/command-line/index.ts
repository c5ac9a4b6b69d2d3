// What other tools of the family share: the frame of a command line. Loads nothing large.
export type { Progress } from "../progress/progress.ts";
export { exitCode, exitCodeOf } from "./exit-code.ts";
export { column, defined, path, presentation, realNumber, requiredPath, wholeNumber } from "./options.ts";
export type { NumberOption, RequiredTextOption, TextOption } from "./options.ts";
export { parseCommandLine } from "./parse.ts";
export type { HelpText } from "./parse.ts";
export { pinnedVersions } from "./pinned-versions.ts";
export { runProgram } from "./program.ts";
export type { Presentation, Print, Program, Terminal } from "./program.ts";
export { textTable } from "./text-table.ts";
