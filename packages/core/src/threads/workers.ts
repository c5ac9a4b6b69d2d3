import { requireInteger, requirePositive } from "../checks.ts";
import { checkCausalRows } from "../attention/tiled/favor.ts";
import { exactNames32 } from "../attention/tiled/exact.ts";
import type { ExactOptions32 } from "../attention/tiled/exact.ts";
import { featuresByHead } from "../attention/tiled/features.ts";
import type { FeatureMap32 } from "../attention/tiled/features.ts";
import { maskNames, resolveAttention } from "../attention/tiled/rows.ts";
import type { AttentionShape, MaskOptions, ResolvedAttention } from "../attention/tiled/rows.ts";
import { FavorError } from "../errors.ts";
import { createKernels } from "../kernels/create.ts";
import type { KernelOptions } from "../kernels/create.ts";
import type { KernelKind } from "../kernels/block-kernels.ts";
import { startWorker } from "./platform.ts";
import type { WorkerThread } from "./platform.ts";
import type { AttentionTask, TaskMessage, TaskReply } from "./task.ts";
import { workerSource } from "./worker-source.ts";
import { requireOptions } from "../options.ts";

export interface WorkerOptions extends KernelOptions {
  /** How many workers to start; those beyond `keyHeads` have nothing to do. */
  readonly threads: number;
}

/** Float32 attention on several threads: the key heads of a call are divided among workers. */
export interface AttentionWorkers {
  readonly threads: number;
  /** The kernels that every worker runs. */
  readonly kind: KernelKind;
  /**
   * Whether arrays in shared memory are passed without a copy and results lie there. True in Node, and in browsers if
   * the page is cross-origin isolated. Otherwise everything is copied once each way.
   */
  readonly sharedMemory: boolean;
  /** An array of zeros, in shared memory if there is any: query, key and value in such arrays are not copied. */
  allocate(length: number): Float32Array;
  /** Equals the function of the same name, bit for bit. Do not change the arrays before the promise is settled. */
  favorAttention32(
    query: Float32Array,
    key: Float32Array,
    value: Float32Array,
    shape: AttentionShape,
    features: FeatureMap32 | readonly FeatureMap32[],
    options?: MaskOptions,
  ): Promise<Float32Array>;
  /** Equals the function of the same name, bit for bit. Do not change the arrays before the promise is settled. */
  exactAttention32(
    query: Float32Array,
    key: Float32Array,
    value: Float32Array,
    shape: AttentionShape,
    options?: ExactOptions32,
  ): Promise<Float32Array>;
  /** Ends the workers. Calls that are not settled are rejected with `workers-closed`, and so are later ones. */
  close(): void;
}

interface Pending {
  readonly resolve: (reply: TaskReply) => void;
  readonly reject: (error: Error) => void;
}

const simdOf = { "relaxed-simd": "relaxed", simd: "strict", typescript: "off" } as const;

/**
 * Starts workers for `favorAttention32` and `exactAttention32`. Starting them takes about 50 ms, so keep them. An idle
 * worker does not keep Node running. If one worker fails (`worker-failed`), all end.
 *
 * @throws ArgumentError if `threads` is not a whole number from 1 to 1024.
 * @throws FavorError `workers-unavailable` if there are no workers, `simd-unavailable` as `createKernels`. If the content
 *   security policy of a page lacks `worker-src blob:`, browsers may tell only after they started the worker: then every
 *   call is rejected with `workers-unavailable`.
 */
export function createWorkers(workerOptions: WorkerOptions): AttentionWorkers {
  requireOptions("options", workerOptions, { threads: true, simd: true }, "{ threads: 4 }");
  const { threads, ...kernelOptions } = workerOptions;
  requireInteger("threads", threads, 1, 1024);
  const { kind } = createKernels(kernelOptions);
  const sharedMemory = typeof SharedArrayBuffer === "function";
  const pending = new Map<number, Pending>();
  const workers: WorkerThread[] = [];
  let closed: FavorError | undefined;
  let lastId = 0;

  function end(reason: FavorError): void {
    if (closed) return;
    closed = reason;
    for (const worker of workers) worker.terminate();
    for (const { reject } of pending.values()) reject(reason);
    pending.clear();
  }

  function receive(data: unknown): void {
    const reply = data as TaskReply;
    const call = pending.get(reply.id);
    pending.delete(reply.id);
    if (pending.size === 0) for (const worker of workers) worker.hold(false);
    if (reply.error) call?.reject(new FavorError(reply.error.message, { code: reply.error.code }));
    else call?.resolve(reply);
  }

  function send(worker: WorkerThread, task: AttentionTask): Promise<TaskReply> {
    const id = ++lastId;
    const message: TaskMessage = { id, simd: simdOf[kind], task };
    return new Promise((resolve, reject) => {
      worker.post(message, [task.query, task.key, task.value].flatMap(unsharedBuffer));
      pending.set(id, { resolve, reject });
      worker.hold(true);
    });
  }

  async function attend(
    arrays: Pick<AttentionTask, "query" | "key" | "value">,
    attention: ResolvedAttention,
    features: readonly FeatureMap32[] | undefined,
    options: ExactOptions32,
  ): Promise<Float32Array> {
    if (closed) throw closed;
    const { heads, keyHeads, queryRows, keyRows, dim, valueDim, group } = attention;
    const out = allocate(heads * queryRows * valueDim);
    const { keyMask, ...others } = options;
    const copied = keyMask ? { ...others, keyMask: Float64Array.from(keyMask) } : others;
    const shares = workers.map(async (worker, index): Promise<void> => {
      const first = Math.floor((index * keyHeads) / threads);
      const last = Math.floor(((index + 1) * keyHeads) / threads);
      if (first === last) return;
      const outRows = queryRows * valueDim * group;
      const { result } = await send(worker, {
        query: part(arrays.query, first, last, queryRows * dim * group),
        key: part(arrays.key, first, last, keyRows * dim),
        value: part(arrays.value, first, last, keyRows * valueDim),
        shape: { heads: (last - first) * group, keyHeads: last - first, queryRows, keyRows, dim, valueDim },
        features: features?.slice(first, last),
        options: copied,
        out: sharedMemory ? out.subarray(first * outRows, last * outRows) : undefined,
      });
      if (result) out.set(result, first * outRows);
    });
    await Promise.all(shares);
    return out;
  }

  function allocate(length: number): Float32Array {
    return new Float32Array(sharedMemory ? new SharedArrayBuffer(4 * length) : new ArrayBuffer(4 * length));
  }

  for (let index = 0; index < threads; index++) {
    const failure = (cause: unknown): void => {
      if (FavorError.isInstance(cause)) return end(cause);
      const message = `A worker failed: ${String(cause)}. Start new ones with createWorkers, with fewer threads if memory is short.`;
      end(new FavorError(message, { code: "worker-failed", cause }));
    };
    workers.push(startWorker(workerSource, { message: receive, failure }));
  }

  return {
    threads,
    kind,
    sharedMemory,
    allocate,
    async favorAttention32(query, key, value, shape, features, options = {}) {
      requireOptions("options", options, maskNames);
      const attention = resolveAttention(query, key, value, shape, options);
      checkCausalRows(attention);
      const byHead = featuresByHead(features, attention.keyHeads, attention.dim);
      return attend({ query, key, value }, attention, byHead, options);
    },
    async exactAttention32(query, key, value, shape, options = {}) {
      requireOptions("options", options, exactNames32);
      const attention = resolveAttention(query, key, value, shape, options);
      if (options.scale !== undefined) requirePositive("options.scale", options.scale);
      return attend({ query, key, value }, attention, undefined, options);
    },
    close: () =>
      end(new FavorError("These workers were closed. Start new ones with createWorkers.", { code: "workers-closed" })),
  };
}

/** Heads first..last of an array: a view if it lies in shared memory, otherwise a copy to hand over. */
function part(array: Float32Array, first: number, last: number, size: number): Float32Array {
  return unsharedBuffer(array).length === 0
    ? array.subarray(first * size, last * size)
    : array.slice(first * size, last * size);
}

function unsharedBuffer({ buffer }: Float32Array): ArrayBuffer[] {
  return buffer instanceof ArrayBuffer ? [buffer] : [];
}
