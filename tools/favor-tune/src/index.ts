export { StoppedError, TrainingError, TuneInputError, TuneUsageError } from "./errors.ts";
export type { TrainingErrorCode, TuneInputErrorCode, TuneUsageErrorCode } from "./errors.ts";
export type { BackendChoice, Schedule, Stage, TrainedPart, TuneRequest } from "./request.ts";
