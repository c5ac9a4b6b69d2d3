// Runs in Chromium: posts what each operator gives on the graphics backends.
import { repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { cases } from "./cases.ts";
import { bits, onTfjs, type Found } from "./run.ts";

// registers the backend
await import("@tensorflow/tfjs-backend-webgpu");

const fetchPage: (url: string, options: { method: string; body: string }) => Promise<unknown> = Reflect.get(
  globalThis,
  "fetch",
);

const report: Record<string, Record<string, Found>> = {};
for (const backend of ["webgl", "webgpu"]) {
  const found: Record<string, Found> = (report[backend] = {});
  try {
    if (!(await tf.setBackend(backend))) throw new Error(`${backend} did not start`);
    repairBackend();
    for (const given of cases) {
      found[given.name] = await onTfjs(given).then(bits, String);
    }
  } catch (error) {
    found["start"] = String(error);
  }
}
await fetchPage("/report", { method: "POST", body: JSON.stringify(report) });
