import { createKernels, exactAttention32, exponentialFeatures32, exponentialForm, favorAttention32 } from "@favor/core";
import { shortest } from "./timing.ts";
import type { Setting, Timing } from "./timing.ts";

/** Exact attention is quadratic: beyond this length it is not timed. */
const LONGEST_EXACT = 8192;

/** Times @favor/core's float32 attentions, with the kernels that this engine gives. */
export function timeFavor(setting: Setting): { readonly kernels: string; readonly timings: Timing[] } {
  const { heads, dim, count, lengths, seconds } = setting;
  const kernels = createKernels();
  const form = exponentialForm({
    version: 1,
    kind: "positive",
    projection: { kind: "orthogonal", count, dim, seed: 0 },
  });
  const features = exponentialFeatures32(form, { scale: 1 / Math.sqrt(dim) });
  const timings: Timing[] = [];
  for (const length of lengths) {
    const [query, key, value] = ["query", "key", "value"].map(() =>
      Float32Array.from({ length: heads * length * dim }, () => Math.random() - 0.5),
    ) as [Float32Array, Float32Array, Float32Array];
    const shape = { heads, queryRows: length, keyRows: length, dim };
    for (const causal of [false, true]) {
      const time = (name: string, run: () => void): void => {
        timings.push({ name, causal, length, milliseconds: shortest(run, seconds) });
      };
      time("favor", () => favorAttention32(kernels, query, key, value, shape, features, { causal }));
      if (length <= LONGEST_EXACT) {
        time("favor exact", () => exactAttention32(kernels, query, key, value, shape, { causal }));
      }
    }
  }
  return { kernels: kernels.kind, timings };
}
