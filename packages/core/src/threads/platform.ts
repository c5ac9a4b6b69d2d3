// One interface to the workers of browsers, Deno and Bun, and to those of Node. The few parts of them that we use are
// declared here: core's types assume no platform.
import { FavorError } from "../errors.ts";

export interface MessagePort {
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
}

/** A worker that runs a script and reports to the listeners that it was made with. */
export interface WorkerThread {
  post(message: unknown, transfer: ArrayBuffer[]): void;
  /** Makes the process wait for this worker, or not; browsers have no such thing. */
  hold(held: boolean): void;
  terminate(): void;
}

export interface WorkerListeners {
  readonly message: (data: unknown) => void;
  /** The worker is lost. A FavorError says that it never ran. */
  readonly failure: (cause: unknown) => void;
}

interface WebWorker extends MessagePort {
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
  addEventListener(type: "error", listener: (event: { readonly message?: string }) => void): void;
  terminate(): void;
}
interface WebPlatform {
  readonly Worker: new (url: string) => WebWorker;
  readonly Blob: new (parts: string[], options: { type: string }) => object;
  readonly URL: { createObjectURL(blob: object): string; revokeObjectURL(url: string): void };
}
interface NodeProcess {
  getBuiltinModule?(name: "worker_threads"): WorkerThreads | undefined;
}
interface NodeWorker {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  on(event: "message" | "error", listener: (data: unknown) => void): void;
  ref(): void;
  unref(): void;
  terminate(): unknown;
}
interface WorkerThreads {
  readonly Worker: new (source: string, options: { readonly eval: true }) => NodeWorker;
  readonly parentPort: MessagePort | null;
}

// Read by name, because the types of a program that includes a browser's or Node's would contradict ours.
const web: Partial<WebPlatform> = {
  Worker: Reflect.get(globalThis, "Worker"),
  Blob: Reflect.get(globalThis, "Blob"),
  URL: Reflect.get(globalThis, "URL"),
};
const process: NodeProcess | undefined = Reflect.get(globalThis, "process");

/** Node's module for workers, found without an import: an import would keep this package from running in browsers. */
export function workerThreads(): WorkerThreads | undefined {
  return process?.getBuiltinModule?.("worker_threads");
}

/**
 * Starts a worker. Browsers tell in two ways that the policy of a page forbids it: some throw, others fire an event
 * afterwards, which has no message since no script ran.
 *
 * @throws FavorError `workers-unavailable` if there are no workers, or the browser throws; `failure` gets the same error
 *   if it fires the event.
 */
export function startWorker(source: string, listeners: WorkerListeners): WorkerThread {
  const { Worker, Blob, URL } = web;
  if (Worker && Blob && URL) return startWebWorker({ Worker, Blob, URL }, source, listeners);
  const threads = workerThreads();
  if (!threads) throw unavailable("this JavaScript engine has no workers");
  const worker = new threads.Worker(source, { eval: true });
  worker.on("message", listeners.message);
  worker.on("error", listeners.failure);
  worker.unref();
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    hold: (held) => (held ? worker.ref() : worker.unref()),
    terminate: () => void worker.terminate(),
  };
}

function startWebWorker(
  { Worker, Blob, URL }: WebPlatform,
  source: string,
  { message, failure }: WorkerListeners,
): WorkerThread {
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  let worker: WebWorker;
  try {
    worker = new Worker(url);
  } catch (error) {
    URL.revokeObjectURL(url);
    throw forbidden(error);
  }
  worker.addEventListener("message", ({ data }) => message(data));
  worker.addEventListener("error", (event) => failure(event.message ?? forbidden(event)));
  return {
    post: (data, transfer) => worker.postMessage(data, transfer),
    hold: () => undefined,
    terminate() {
      worker.terminate();
      URL.revokeObjectURL(url);
    },
  };
}

function forbidden(cause: unknown): FavorError<"workers-unavailable"> {
  return unavailable('the page\'s content security policy must allow "worker-src blob:"', cause);
}

function unavailable(reason: string, cause?: unknown): FavorError<"workers-unavailable"> {
  return new FavorError(
    `Workers cannot run here: ${reason}. Use createKernels, favorAttention32 and exactAttention32 on one thread.`,
    { code: "workers-unavailable", cause },
  );
}
