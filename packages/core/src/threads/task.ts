import { exactAttention32 } from "../attention/tiled/exact.ts";
import type { ExactOptions32 } from "../attention/tiled/exact.ts";
import { favorAttention32 } from "../attention/tiled/favor.ts";
import type { FeatureMap32 } from "../attention/tiled/features.ts";
import type { AttentionShape } from "../attention/tiled/rows.ts";
import type { KernelOptions } from "../kernels/create.ts";
import type { BlockKernels } from "../kernels/block-kernels.ts";

/** The part of a call that one worker computes: some key heads, with the query heads that read them. */
export interface AttentionTask {
  readonly query: Float32Array;
  readonly key: Float32Array;
  readonly value: Float32Array;
  /** The shape of these heads only. */
  readonly shape: AttentionShape;
  /** One per key head; undefined: exact attention. */
  readonly features: readonly FeatureMap32[] | undefined;
  readonly options: ExactOptions32;
  /** Where the result goes in shared memory; undefined: into the reply. */
  readonly out: Float32Array | undefined;
}

/** What a worker receives. */
export interface TaskMessage {
  readonly id: number;
  readonly simd: NonNullable<KernelOptions["simd"]>;
  readonly task: AttentionTask;
}

/** What a worker answers, once per task. */
export interface TaskReply {
  readonly id: number;
  readonly result?: Float32Array<ArrayBuffer>;
  readonly error?: { readonly code: string; readonly message: string };
}

/** Runs a task. Returns the result only if the task names no place for it. */
export function runTask(kernels: BlockKernels, task: AttentionTask): Float32Array<ArrayBuffer> | undefined {
  const { query, key, value, shape, features, options, out } = task;
  const result = features
    ? favorAttention32(kernels, query, key, value, shape, features, options)
    : exactAttention32(kernels, query, key, value, shape, options);
  if (!out) return result;
  out.set(result);
  return undefined;
}
