import * as tf from "@tensorflow/tfjs";
import { addInSevens } from "./add-n.ts";
import { batchedGather } from "./batched-gather.ts";
import { castToBool } from "./cast-to-bool.ts";
import { cumulativeByReversal } from "./cumulative.ts";
import { einsum } from "./einsum.ts";
import { maxGradient } from "./max-gradient.ts";
import { segmentSum } from "./segment-sum.ts";
import { tileGradient } from "./tile-gradient.ts";
import { guardAllocation } from "./wasm-allocation.ts";
import { itemwiseMatMul } from "./wasm-matmul.ts";
import { sliceInPlace } from "./wasm-slice.ts";
import { tileByRuns } from "./wasm-tile.ts";

interface Repair {
  readonly backend: string;
  readonly kernel: string;
  readonly repair: (original: tf.KernelFunc | undefined) => tf.KernelFunc | undefined;
}

/** A kernel around the original, where there is one. */
const around =
  (wrap: (original: tf.KernelFunc) => tf.KernelFunc): Repair["repair"] =>
  (original) =>
    original && wrap(original);

const repairs: readonly Repair[] = [
  { backend: "cpu", kernel: "UnsortedSegmentSum", repair: () => segmentSum },
  { backend: "wasm", kernel: "UnsortedSegmentSum", repair: () => segmentSum },
  { backend: "wasm", kernel: "BatchMatMul", repair: around(itemwiseMatMul) },
  { backend: "wasm", kernel: "Slice", repair: around(sliceInPlace) },
  { backend: "wasm", kernel: "Tile", repair: around(tileByRuns) },
  { backend: "wasm", kernel: "Einsum", repair: () => einsum },
  { backend: "wasm", kernel: "GatherV2", repair: around(batchedGather) },
  { backend: "wasm", kernel: "Cast", repair: around(castToBool) },
  { backend: "webgpu", kernel: "Cumsum", repair: around(cumulativeByReversal) },
  { backend: "webgpu", kernel: "Cumprod", repair: around(cumulativeByReversal) },
  { backend: "webgpu", kernel: "AddN", repair: around(addInSevens) },
];

/** The gradients of tfjs are those of every backend. */
const gradients: Readonly<Record<string, tf.GradFunc>> = { Tile: tileGradient, Max: maxGradient };

/** The kernels that are in place, by backend and name. */
const inPlace = new Map<string, tf.KernelFunc>();

/**
 * Replaces kernels of tfjs 4.22 that are missing, wrong or slow for training with attention, on `backend` (default: the
 * one in use) and for this process only. Returns the names of the kernels replaced, none if they were already:
 *
 * - `UnsortedSegmentSum` on wasm, where it is missing, and on cpu, where it takes segments x size memory: without it no
 *   embedding trains on wasm;
 * - `BatchMatMul` on wasm, several times slower on transposed or batched operands than on others;
 * - `Slice` on wasm, which copies all of its input for any part of it, and `Tile` there, slow in layer normalisation;
 * - `Einsum` on wasm, where it is missing; `GatherV2` there, wrong with `batchDims` above 1; `Cast` there, which makes numbers
 *   below 1 and multiples of 256 false;
 * - `Cumsum` and `Cumprod` on webgpu, wrong when reversed (as in the gradient) from the second length on; `AddN` there,
 *   0 for more than 7 tensors where a shader may use 8 buffers;
 * - allocation on wasm, where tfjs writes over its own tensors when memory ends: throws FavorError `out-of-memory`
 *   instead (only on the backend in use);
 * - the gradients of `Tile` and `Max`, on every backend, for tfjs has one for all: thousands of kernels for the gradient
 *   of one layer normalisation over a sequence, and a comparison that wasm is slow in.
 *
 * Nothing calls this but you. A backend without repairs of its own gets only the last two.
 */
export function repairBackend(backend: string = tf.getBackend()): readonly string[] {
  const replaced: string[] = [];
  for (const [kernel, gradFunc] of Object.entries(gradients)) {
    const stock = tf.getGradient(kernel) as tf.GradConfig | undefined;
    if (!stock || stock.gradFunc === gradFunc) continue;
    tf.unregisterGradient(kernel);
    tf.registerGradient({ ...stock, gradFunc });
    replaced.push(`${kernel} gradient`);
  }
  for (const { backend: name, kernel, repair } of repairs) {
    if (name !== backend) continue;
    const original = tf.getKernel(kernel, backend) as tf.KernelConfig | undefined;
    const key = `${backend} ${kernel}`;
    if (original && original.kernelFunc === inPlace.get(key)) continue;
    const kernelFunc = repair(original?.kernelFunc);
    if (!kernelFunc) continue;
    if (original) tf.unregisterKernel(kernel, backend);
    tf.registerKernel({ ...original, kernelName: kernel, backendName: backend, kernelFunc });
    inPlace.set(key, kernelFunc);
    replaced.push(kernel);
  }
  if (backend === "wasm" && tf.getBackend() === backend && guardAllocation(tf.backend())) replaced.push("allocation");
  return replaced;
}
