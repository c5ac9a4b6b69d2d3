import * as tf from "@tensorflow/tfjs";
import { segmentSum } from "./segment-sum.ts";
import { tileGradient } from "./tile-gradient.ts";
import { itemwiseMatMul } from "./wasm-matmul.ts";

interface Repair {
  readonly backend: string;
  readonly kernel: string;
  readonly repair: (original: tf.KernelFunc | undefined) => tf.KernelFunc | undefined;
}

const repairs: readonly Repair[] = [
  { backend: "cpu", kernel: "UnsortedSegmentSum", repair: () => segmentSum },
  { backend: "wasm", kernel: "UnsortedSegmentSum", repair: () => segmentSum },
  { backend: "wasm", kernel: "BatchMatMul", repair: (original) => original && itemwiseMatMul(original) },
];

/** The kernels that are in place, by backend and name. */
const inPlace = new Map<string, tf.KernelFunc>();

/**
 * Replaces kernels of tfjs 4.22 that are missing, wrong or slow for training with attention, on `backend` (default: the
 * one in use) and for this process only. Returns the names of the kernels replaced, none if they were already:
 *
 * - `UnsortedSegmentSum` on wasm, where it is missing, and on cpu, where it takes segments x size memory: without it no
 *   embedding trains on wasm;
 * - `BatchMatMul` on wasm, several times slower on transposed or batched operands than on others;
 * - the gradient of `Tile`, on every backend, for tfjs has one for all: thousands of kernels for the gradient of one
 *   layer normalisation over a sequence.
 *
 * Nothing calls this but you. A backend without repairs of its own gets only the last.
 */
export function repairBackend(backend: string = tf.getBackend()): readonly string[] {
  const replaced: string[] = [];
  const tile = tf.getGradient("Tile") as tf.GradConfig | undefined;
  if (tile && tile.gradFunc !== tileGradient) {
    tf.unregisterGradient("Tile");
    tf.registerGradient({ ...tile, gradFunc: tileGradient });
    replaced.push("Tile gradient");
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
  return replaced;
}
