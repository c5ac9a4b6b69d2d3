import type * as tf from "@tensorflow/tfjs";

/** Milliseconds of processor time, which other programs do not change, of the quickest of several runs. */
export function quickest(run: () => tf.Tensor): number {
  let best = Infinity;
  for (let i = 0; i < 5; i++) {
    const start = process.cpuUsage();
    run().dispose();
    const { user, system } = process.cpuUsage(start);
    best = Math.min(best, (user + system) / 1000);
  }
  return best;
}
