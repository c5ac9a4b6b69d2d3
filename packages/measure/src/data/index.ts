export { formatByName, readRecords } from "./data-file.ts";
export type { ReadOptions } from "./data-file.ts";
export { malformed } from "./lines.ts";
export type { DataRecord } from "./record.ts";
