import * as tf from "@tensorflow/tfjs";

/** Adds gradients to a sum, and disposes of replaced tensors. */
export function accumulate(sum: Map<string, tf.Tensor>, gradients: Readonly<Record<string, tf.Tensor>>): void {
  for (const [name, gradient] of Object.entries(gradients)) {
    const before = sum.get(name);
    sum.set(name, before === undefined ? gradient : tf.add(before, gradient));
    if (before !== undefined) tf.dispose([before, gradient]);
  }
}

/** The global norm of gradients: the square root of the sum of all squares. */
export async function globalNorm(gradients: Iterable<tf.Tensor>): Promise<number> {
  // Stacked, because a sum of more than seven tensors is wrong on webgpu.
  const squares = tf.tidy(() => tf.stack([...gradients].map((gradient) => tf.sum(tf.square(gradient)))));
  const values = (await squares.data()) as Float32Array;
  squares.dispose();
  return Math.sqrt(values.reduce((sum, value) => sum + value, 0));
}

/** Factor that limits a global norm to `limit` (Pascanu et al. 2012). */
export function clippingScale(norm: number, limit: number): number {
  return norm > limit ? limit / norm : 1;
}
