/**
 * Spearman's rank correlation, with mean ranks for ties.
 *
 * @returns undefined for fewer than three pairs, or if all numbers of one side are equal.
 */
export function rankCorrelation(a: ArrayLike<number>, b: ArrayLike<number>): number | undefined {
  if (a.length < 3) return undefined;
  const [x, y] = [ranks(a), ranks(b)];
  const mean = (a.length - 1) / 2;
  let [xy, xx, yy] = [0, 0, 0];
  for (const [i, rank] of x.entries()) {
    const [u, v] = [rank - mean, y[i]! - mean];
    xy += u * v;
    xx += u * u;
    yy += v * v;
  }
  const scale = Math.sqrt(xx * yy);
  return scale === 0 ? undefined : xy / scale;
}

/** The rank of each number, from 0; equal numbers have the mean of their ranks. */
function ranks(values: ArrayLike<number>): Float64Array {
  const order = Uint32Array.from({ length: values.length }, (_, i) => i).toSorted((p, q) => values[p]! - values[q]!);
  const found = new Float64Array(values.length);
  for (let start = 0; start < order.length;) {
    let end = start + 1;
    while (end < order.length && values[order[end]!] === values[order[start]!]) end++;
    for (let i = start; i < end; i++) found[order[i]!] = (start + end - 1) / 2;
    start = end;
  }
  return found;
}
