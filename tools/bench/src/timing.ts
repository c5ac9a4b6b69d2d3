/** One measured cell: an implementation at one length. */
export interface Timing {
  readonly name: string;
  readonly causal: boolean;
  /** L, tokens. */
  readonly length: number;
  /** The shortest of several runs. */
  readonly milliseconds: number;
  /** Processor time of a run, of all threads together, where it was measured: the mean of several. */
  readonly processorMilliseconds?: number;
}

/** What every implementation is timed on: one thread unless its name says more, batch 1. */
export interface Setting {
  readonly heads: number;
  readonly dim: number;
  /** M. */
  readonly count: number;
  readonly lengths: readonly number[];
  /** Time to repeat each cell for; at least 3 runs after one to warm up. */
  readonly seconds: number;
}

/** The shortest of several runs after a warm-up, in milliseconds. */
export async function shortest(run: () => unknown, seconds: number): Promise<number> {
  await run();
  let best = Infinity;
  const end = performance.now() + 1000 * seconds;
  for (let runs = 0; runs < 3 || (performance.now() < end && runs < 50); runs++) {
    const start = performance.now();
    await run();
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

/** The processor time of a run, of all threads, in milliseconds: the mean of several. */
export async function processorTime(run: () => unknown): Promise<number> {
  const runs = 5;
  const start = process.cpuUsage();
  for (let i = 0; i < runs; i++) await run();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000 / runs;
}

/** The slope of log time over log length by least squares: 1 is linear, 2 quadratic. NaN from fewer than two. */
export function logSlope(timings: readonly Timing[]): number {
  const points = timings.map(({ length, milliseconds }) => [Math.log(length), Math.log(milliseconds)] as const);
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / points.length;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / points.length;
  const covariance = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  return covariance / points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
}

/** Floating-point operations of FAVOR's four products, both directions together, for all heads. */
export function favorOperations({ heads, dim, count }: Setting, length: number): number {
  return heads * 4 * 2 * length * count * dim;
}
