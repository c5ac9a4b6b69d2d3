// Runs in Chromium, in a page with a content security policy: posts what workers do there.
import { createWorkers, FavorError } from "@favor/core";

const fetchPage: (url: string, options: { method: string; body: string }) => Promise<unknown> = Reflect.get(
  globalThis,
  "fetch",
);

const ones = new Float32Array(8).fill(1);
const shape = { heads: 2, queryRows: 2, keyRows: 2, dim: 2, valueDim: 2 };
const report: string[] = [];
const described = (error: unknown): string =>
  FavorError.isInstance(error) ? `${error.code}: ${error.message}` : String(error);

try {
  const workers = createWorkers({ threads: 2 });
  // The first call may be under way when the browser tells; the second comes after.
  for (let call = 0; call < 2; call++) {
    report.push(await workers.exactAttention32(ones, ones, ones, shape).then((out) => out.join(), described));
  }
  workers.close();
} catch (error) {
  report.push(described(error));
}
await fetchPage("/report", { method: "POST", body: JSON.stringify(report) });
