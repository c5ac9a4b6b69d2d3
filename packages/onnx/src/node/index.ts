export { fileError } from "./file-errors.ts";
export { InputFile, hashFile } from "./input-file.ts";
export { openModel } from "./open-model.ts";
export type { OpenedModel } from "./open-model.ts";
export { writeModel } from "./write-model.ts";
export type { ExternalDataOptions, WriteModelOptions, WrittenFile } from "./write-model.ts";
