/**
 * The page of `lossless-browser.ts`: one forward pass of a model in onnxruntime-web, on one thread or as many as its address
 * says, after a short one. Reports its seconds and the WebAssembly memory that there is by then, or how it failed.
 */
import { env, InferenceSession, Tensor } from "onnxruntime-web/wasm";
import type { BrowserOutcome } from "./lossless-table.ts";
import { randomTokens } from "./random-tokens.ts";

const query = new URLSearchParams(location.search);
const memories: WebAssembly.Memory[] = [];
/** onnxruntime-web makes its memory itself, and shows it to nobody. Such memory grows, and never shrinks. */
WebAssembly.Memory = class extends WebAssembly.Memory {
  constructor(descriptor: WebAssembly.MemoryDescriptor) {
    super(descriptor);
    memories.push(this);
  }
};

async function pass(length: number): Promise<BrowserOutcome> {
  env.wasm.wasmPaths = { mjs: "/onnxruntime-threads.js", wasm: "/onnxruntime.wasm" };
  env.wasm.numThreads = Number(query.get("threads"));
  const session = await InferenceSession.create("/model.onnx", { executionProviders: ["wasm"] });
  const run = async (count: number): Promise<number> => {
    const tokens = Object.entries(randomTokens(session.inputNames, count));
    const feeds = Object.fromEntries(tokens.map(([name, data]) => [name, new Tensor("int64", data, [1, count])]));
    const begun = performance.now();
    await session.run(feeds);
    return (performance.now() - begun) / 1000;
  };
  await run(16);
  const seconds = await run(length);
  const bytes = Math.max(...memories.map(({ buffer }) => buffer.byteLength));
  return { seconds, megabytes: bytes / 2 ** 20 };
}

const outcome = await pass(Number(query.get("length"))).catch((error: unknown): BrowserOutcome => ({
  failure: error instanceof Error ? error.message : String(error),
}));
await fetch("/report", { method: "POST", body: JSON.stringify(outcome) });
