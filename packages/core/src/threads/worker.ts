// What runs in a worker: scripts/build-worker.js bundles this file and all it imports into worker-source.ts.
import { FavorError } from "../errors.ts";
import { createKernels } from "../kernels/create.ts";
import type { BlockKernels } from "../kernels/block-kernels.ts";
import { workerThreads } from "./platform.ts";
import type { MessagePort } from "./platform.ts";
import { runTask } from "./task.ts";
import type { TaskMessage, TaskReply } from "./task.ts";

/** A browser's worker is its own port; Node's has one. */
const port: MessagePort =
  typeof Reflect.get(globalThis, "postMessage") === "function"
    ? (globalThis as typeof globalThis & MessagePort)
    : workerThreads()!.parentPort!;
let kernels: BlockKernels | undefined;

port.addEventListener("message", ({ data }) => {
  const { id, simd, task } = data as TaskMessage;
  let reply: TaskReply;
  try {
    kernels ??= createKernels({ simd });
    const result = runTask(kernels, task);
    reply = result ? { id, result } : { id };
  } catch (error) {
    const code = FavorError.isInstance(error) ? error.code : "worker-failed";
    reply = { id, error: { code, message: error instanceof Error ? error.message : String(error) } };
  }
  port.postMessage(reply, reply.result ? [reply.result.buffer] : []);
});
