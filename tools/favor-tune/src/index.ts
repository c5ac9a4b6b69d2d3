export { StoppedError, TrainingError, TuneInputError, TuneUsageError } from "./errors.ts";
export type { TrainingErrorCode, TuneInputErrorCode, TuneUsageErrorCode } from "./errors.ts";
export { tuningJson, tuningText } from "./presentation.ts";
export type { BackendChoice, Schedule, Stage, TrainedPart, TuneRequest } from "./request.ts";
export { tune } from "./tune.ts";
export type { TuneResult } from "./tune.ts";
