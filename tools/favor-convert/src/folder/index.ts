// What other tools of the family share: checkpoints and converted folders, read and written.
export { copyCompanions } from "./checkpoint-files.ts";
export { OutputFolder, checkOutput } from "./output-folder.ts";
export type { OutputFolderOptions } from "./output-folder.ts";
export { companions } from "../source/companions.ts";
export { maximumTokens } from "../source/config.ts";
export type { ModelConfig } from "../source/config.ts";
export { onnxFileOf, openSourceModel } from "../source/open-source-model.ts";
export type { OpenedSource } from "../source/open-source-model.ts";
export { openSource } from "../source/source.ts";
export type { Source } from "../source/source.ts";
export { readFavorFile } from "../report/read-favor-file.ts";
