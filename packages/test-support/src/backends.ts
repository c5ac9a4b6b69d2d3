import * as tf from "@tensorflow/tfjs";
import { version_wasm as wasmVersion } from "@tensorflow/tfjs-backend-wasm";
import { beforeAll, describe } from "vitest";

/** Importing it is what registers the wasm backend. */
export const version: string = wasmVersion;

tf.enableProdMode();
await tf.setBackend("cpu");

/** The backends that run in Node without a graphics adapter; cpu is the reference of tfjs. */
export const backends = ["cpu", "wasm"] as const;

/** The same tests on every backend. */
export function onEveryBackend(name: string, tests: (backend: string) => void): void {
  describe.each(backends)(`${name} on %s`, (backend) => {
    beforeAll(async () => {
      if (!(await tf.setBackend(backend))) throw new Error(`backend ${backend} did not start`);
      await tf.ready();
    });
    tests(backend);
  });
}
