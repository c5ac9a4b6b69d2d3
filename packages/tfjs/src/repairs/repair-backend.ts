import { ArgumentError } from "@favor/core";
import * as tf from "@tensorflow/tfjs-core";
import { addInSevens } from "./add-n.ts";
import { castToBool } from "./cast-to-bool.ts";
import { cumulativeByReversal } from "./cumulative.ts";
import { einsum } from "./einsum.ts";
import { maxGradient } from "./max-gradient.ts";
import { segmentSum } from "../kernels/segment-sum.ts";
import { waveKernels } from "../kernels/waves.ts";
import { tileGradient } from "./tile-gradient.ts";
import { guardAllocation } from "./wasm-allocation.ts";
import { depthwiseFilterGradient, depthwiseInputGradient, filterGradient } from "./wasm-convolution.ts";
import { gatherSlices } from "./wasm-gather.ts";
import { itemwiseMatMul } from "./wasm-matmul.ts";
import { sliceInPlace, splitInPlace } from "./wasm-slice.ts";
import { tileByRuns } from "./wasm-tile.ts";

interface Repair {
  readonly backend: string;
  readonly kernel: string;
  readonly repair: (original: tf.KernelFunc | undefined) => tf.KernelFunc | undefined;
}

/** A replacement for a kernel, given the original if there is one. */
const around =
  (wrap: (original: tf.KernelFunc) => tf.KernelFunc): Repair["repair"] =>
  (original) =>
    original && wrap(original);

const repairs: readonly Repair[] = [
  { backend: "cpu", kernel: "UnsortedSegmentSum", repair: () => segmentSum },
  { backend: "wasm", kernel: "UnsortedSegmentSum", repair: () => segmentSum },
  { backend: "wasm", kernel: "BatchMatMul", repair: around(itemwiseMatMul) },
  { backend: "wasm", kernel: "Slice", repair: around(sliceInPlace) },
  { backend: "wasm", kernel: "SplitV", repair: around(splitInPlace) },
  { backend: "wasm", kernel: "Tile", repair: around(tileByRuns) },
  { backend: "wasm", kernel: "Einsum", repair: () => einsum },
  { backend: "wasm", kernel: "Conv2DBackpropFilter", repair: () => filterGradient },
  { backend: "wasm", kernel: "DepthwiseConv2dNativeBackpropFilter", repair: () => depthwiseFilterGradient },
  { backend: "wasm", kernel: "DepthwiseConv2dNativeBackpropInput", repair: () => depthwiseInputGradient },
  { backend: "wasm", kernel: "GatherV2", repair: around(gatherSlices) },
  { backend: "wasm", kernel: "Cast", repair: around(castToBool) },
  { backend: "webgpu", kernel: "Cumsum", repair: around(cumulativeByReversal) },
  { backend: "webgpu", kernel: "Cumprod", repair: around(cumulativeByReversal) },
  { backend: "webgpu", kernel: "AddN", repair: around(addInSevens) },
  ...Object.entries(waveKernels).flatMap(([backend, { sin, cos }]) => [
    { backend, kernel: "Sin", repair: around(() => sin) },
    { backend, kernel: "Cos", repair: around(() => cos) },
  ]),
];

/** Gradients, which tfjs shares among all backends. */
const gradients: Readonly<Record<string, tf.GradFunc>> = { Tile: tileGradient, Max: maxGradient };

/** The replacements in place, by backend and name. */
const inPlace = new Map<string, tf.KernelFunc>();

/**
 * Replaces kernels of tfjs 4.22 that are missing, wrong or slow when training with attention, on `backend` (default: the
 * current one) and in this process only. Call it yourself; nothing else does.
 *
 * - `UnsortedSegmentSum` is missing on wasm, where no embedding trains without it; on cpu it takes segments x size memory.
 * - `BatchMatMul` on wasm is several times slower on transposed or batched operands than on others, and returns old memory
 *   where the inner dimension is empty, as in the gradient of a weight for no rows.
 * - `Slice` and `SplitV` on wasm copy all of their input for any part of it; `Tile` on wasm is slow in layer normalisation, and `GatherV2`
 *   for long slices.
 * - `Conv2DBackpropFilter` and both gradients of depthwise convolutions are missing on wasm, where no convolution trains
 *   without them.
 * - `Einsum` is missing on wasm; `GatherV2` on wasm is wrong with `batchDims` above 1; `Cast` on wasm turns numbers below 1
 *   and multiples of 256 into false.
 * - `Cumsum` and `Cumprod` on webgpu are wrong when reversed (as in the gradient) from the second length on; `AddN` on
 *   webgpu gives 0 for more than 7 tensors if a shader may use only 8 buffers.
 * - `Sin` and `Cos` on webgl and webgpu are as good as the device makes them, which may be off by 7e-4; then they are right to 3e-7
 *   up to 8192.
 * - Allocation on wasm overwrites tensors once memory ends. It throws FavorError `out-of-memory` instead (only on the
 *   current backend).
 * - The gradients of `Tile` and `Max`, which all backends share: tfjs runs thousands of kernels for the gradient of one
 *   layer normalisation over a sequence, and a comparison that is slow on wasm. A backend without repairs of its own gets
 *   only these.
 *
 * @returns The names of the kernels replaced; none if all were replaced before.
 * @throws ArgumentError for a backend without kernels.
 */
export function repairBackend(backend: string = tf.getBackend()): readonly string[] {
  if (tf.getKernelsForBackend(backend).length === 0) {
    throw new ArgumentError("backend", "the name of a backend whose package was imported, such as cpu", backend);
  }
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
