// The page's script, and the module that Node runs for webgpu: posts what the backends in the query did.
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import { runEverything, runHalfPrecision } from "./report.ts";

// registers the backend
await import("@tensorflow/tfjs-backend-webgpu");

const { search, origin } = Reflect.get(globalThis, "location") as { search: string; origin: string };
const fetchPage: (url: string, options: { method: string; body: string }) => Promise<unknown> = Reflect.get(
  globalThis,
  "fetch",
);

setWasmPaths(`${origin}/wasm/`);
const reports = [];
for (const backend of search.slice(1).split(",")) {
  const report = backend === "half-precision" ? runHalfPrecision() : runEverything(backend);
  reports.push(await report.catch((error: unknown) => ({ backend, error: String(error) })));
}
await fetchPage("/report", { method: "POST", body: JSON.stringify(reports) });
