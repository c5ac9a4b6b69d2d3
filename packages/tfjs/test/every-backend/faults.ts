// What is wrong in tfjs 4.22, by backend; each must be there before the repair and gone after it.
import * as tf from "@tensorflow/tfjs";
import { relativeError } from "../ops/samples.ts";

export interface Fault {
  readonly name: string;
  readonly backends: readonly string[];
  /** What the backend gives; may throw or reject. */
  readonly actual: () => Promise<ArrayLike<number>>;
  readonly expected: ArrayLike<number>;
}

/** Twice at different lengths: the second meets the shader of the first. */
async function reversedSums(): Promise<ArrayLike<number>> {
  await tf.cumsum(tf.ones([2, 2]), 1, false, true).data();
  return tf.cumsum(tf.ones([2, 5]), 1, false, true).data();
}

async function gradientOfSums(): Promise<ArrayLike<number>> {
  const gradient = tf.grad((x: tf.Tensor) => tf.cumsum(x, 0));
  await gradient(tf.ones([3])).data();
  return gradient(tf.ones([6])).data();
}

async function reversedProducts(): Promise<ArrayLike<number>> {
  await tf.cumprod(tf.tensor1d([2, 2]), 0, true, true).data();
  return tf.cumprod(tf.tensor1d([1, 2, 3, 4]), 0, true, true).data();
}

function terms(count: number): tf.Tensor[] {
  return Array.from({ length: count }, (_, i) => tf.tensor1d([i]));
}

const angles = Float32Array.from({ length: 4001 }, (_, i) => (i - 2000) * 4.09 + (i % 7) / 10);

export const faults: readonly Fault[] = [
  // together, because devices differ in which of them is off
  {
    name: "sin and cos",
    backends: ["webgl", "webgpu"],
    actual: async () => tf.concat([tf.sin(tf.tensor1d(angles)), tf.cos(tf.tensor1d(angles))]).data(),
    expected: [...Array.from(angles, Math.sin), ...Array.from(angles, Math.cos)],
  },
  {
    name: "reversed cumsum",
    backends: ["webgpu"],
    actual: reversedSums,
    expected: [5, 4, 3, 2, 1, 5, 4, 3, 2, 1],
  },
  { name: "gradient of cumsum", backends: ["webgpu"], actual: gradientOfSums, expected: [6, 5, 4, 3, 2, 1] },
  { name: "reversed exclusive cumprod", backends: ["webgpu"], actual: reversedProducts, expected: [24, 12, 4, 1] },
  {
    name: "addN of 9 and of 16",
    backends: ["webgpu"],
    actual: async () => tf.concat([tf.addN(terms(9)), tf.addN(terms(16))]).data(),
    expected: [36, 120],
  },
  {
    name: "einsum",
    backends: ["wasm"],
    actual: async () =>
      tf
        .einsum(
          "ij,kj->ik",
          tf.tensor2d([[1, 2]]),
          tf.tensor2d([
            [3, 4],
            [5, 6],
          ]),
        )
        .data(),
    expected: [11, 17],
  },
  {
    name: "gather with two batch dimensions",
    backends: ["wasm"],
    actual: async () => {
      const ids = tf.tensor3d([1, 0, 0, 1, 1, 1, 0, 0], [2, 2, 2], "int32");
      return tf.gather(tf.tensor3d([1, 2, 3, 4, 5, 6, 7, 8], [2, 2, 2]), ids, 2, 2).data();
    },
    expected: [2, 1, 3, 4, 6, 6, 7, 7],
  },
  {
    name: "cast to bool",
    backends: ["wasm"],
    actual: async () => tf.cast(tf.tensor1d([0, 0.5, -0.25, 256]), "bool").data(),
    expected: [0, 1, 1, 1],
  },
  {
    name: "gradient of gather",
    backends: ["wasm"],
    actual: async () =>
      tf
        .grad((x) => tf.gather(x, tf.tensor1d([2, 0, 2], "int32")))(tf.zeros([3]))
        .data(),
    expected: [1, 0, 2],
  },
];

/** Whether the backend gives something else, or nothing. */
export async function isWrong({ actual, expected }: Fault): Promise<boolean> {
  try {
    return !(relativeError(await actual(), expected) < 1e-6);
  } catch {
    return true;
  }
}
