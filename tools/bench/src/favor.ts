import {
  createKernels,
  createWorkers,
  exactAttention32,
  exponentialFeatures32,
  exponentialForm,
  favorAttention32,
} from "@favor/core";
import { processorTime, shortest } from "./timing.ts";
import { TWO_THREADS } from "./report.ts";
import type { Setting, Timing } from "./timing.ts";

/** Exact attention is quadratic: beyond this length it is not timed. */
const LONGEST_EXACT = 8192;

/**
 * Times @favor/core's float32 attentions, with the kernels that this engine gives, on one thread and, with arrays in
 * shared memory, on two.
 */
export async function timeFavor(setting: Setting): Promise<{ readonly kernels: string; readonly timings: Timing[] }> {
  const { heads, dim, count, lengths, seconds } = setting;
  const kernels = createKernels();
  const workers = createWorkers({ threads: 2 });
  const form = exponentialForm({
    version: 1,
    kind: "positive",
    projection: { kind: "orthogonal", count, dim, seed: 0 },
  });
  const features = exponentialFeatures32(form, { scale: 1 / Math.sqrt(dim) });
  const timings: Timing[] = [];
  for (const length of lengths) {
    const random = (): Float32Array => {
      const array = workers.allocate(heads * length * dim);
      for (let i = 0; i < array.length; i++) array[i] = Math.random() - 0.5;
      return array;
    };
    const [query, key, value] = [random(), random(), random()];
    const shape = { heads, queryRows: length, keyRows: length, dim };
    for (const causal of [false, true]) {
      const time = async (name: string, run: () => unknown): Promise<void> => {
        timings.push({ name, causal, length, milliseconds: await shortest(run, seconds) });
      };
      const timeWithProcessor = async (name: string, run: () => unknown): Promise<void> => {
        const milliseconds = await shortest(run, seconds);
        timings.push({ name, causal, length, milliseconds, processorMilliseconds: await processorTime(run) });
      };
      await timeWithProcessor("favor", () => favorAttention32(kernels, query, key, value, shape, features, { causal }));
      await timeWithProcessor(TWO_THREADS, () =>
        workers.favorAttention32(query, key, value, shape, features, { causal }),
      );
      if (length <= LONGEST_EXACT) {
        await time("favor exact", () =>
          exactAttention32(kernels, query, key, value, shape, { scale: dim ** -0.5, causal }),
        );
      }
    }
  }
  workers.close();
  return { kernels: kernels.kind, timings };
}
