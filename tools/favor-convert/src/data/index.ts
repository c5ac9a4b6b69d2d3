// What other tools of the family share: data files, tokens. The command line itself is in the package's root.
export { formatByName, readRecords } from "./data-file.ts";
export type { ReadOptions } from "./data-file.ts";
export { malformed } from "./lines.ts";
export type { DataRecord } from "./record.ts";
export { checkVocabulary, cutSequence, loadSequences } from "../tokens/load-sequences.ts";
export type { LoadedSequences, SequenceOptions } from "../tokens/load-sequences.ts";
export { loadTokenizer } from "../tokens/tokenizer.ts";
export type { SequenceTokenizer, TokenSequence } from "../tokens/tokenizer.ts";
