export { dataWarningCodes, doubtsAbout } from "./doubtful-data.ts";
export type { DataWarning } from "./doubtful-data.ts";
export { checkVocabulary, cutSequence, loadSequences } from "./load-sequences.ts";
export type { DataUse, LoadedSequences, SequenceOptions } from "./load-sequences.ts";
export { SequenceTokenizer, loadTokenizer } from "./tokenizer.ts";
export type { TokenSequence } from "./tokenizer.ts";
