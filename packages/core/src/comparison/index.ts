export { lshAttention, lshBuckets, lshSubsets, sharedKeys } from "./lsh.ts";
export type { LshAttentionOptions, LshHashing } from "./lsh.ts";
export { sparseAttention, sparseSubset } from "./sparse.ts";
export type { SparseAttentionOptions, SparsePattern } from "./sparse.ts";
