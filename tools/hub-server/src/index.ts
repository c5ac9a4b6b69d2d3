export type { Answer } from "./answer.ts";
export { diskContent, etagOf, memoryContent, type Content, type StorageKind } from "./content.ts";
export * as faults from "./faults.ts";
export type { Fault } from "./faults.ts";
export { folderFiles, type RepositoryInput, type ServedRepository, type ServedType } from "./repositories.ts";
export { HubServer, type FaultTarget, type HubServerOptions, type ReceivedRequest, type ServerPart } from "./server.ts";
