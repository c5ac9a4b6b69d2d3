import { DataType } from "@favor/onnx";
import type { Bench } from "./bench.ts";
import { findSites } from "./sites.ts";

/**
 * Multiplies the queries, so that logits spread by about `spread`: with random weights attention is next to uniform,
 * and hardly anything that is done to its logits shows.
 */
export function sharpen(bench: Bench, spread: number): void {
  for (const { logits, softmax } of findSites(bench)) {
    const at = bench.shape(softmax.input[0]!)?.spread;
    const query = logits.input[0]!;
    if (at === undefined || !(at > 0) || bench.shape(query)?.dataType !== DataType.FLOAT) continue;
    bench.insertBefore(logits, 0, (value) => bench.op("Mul", [value, bench.float(spread / at)], {}, value));
  }
}
