import { requireLength } from "../checks.ts";

/**
 * The orthogonal factor of the QR decomposition of a square matrix, by Householder reflections, with the signs chosen
 * so that R has a positive diagonal. That makes the factorisation unique, and Q of a Gaussian matrix uniform (Haar)
 * over the orthogonal group (Mezzadri, math-ph/0609050); without it the distribution is biased.
 *
 * @param matrix `[n, n]` row-major; not changed. A zero column gives an arbitrary orthogonal completion.
 * @returns Q, `[n, n]` row-major. Uses + - * / sqrt only, so it is the same to the bit on every engine.
 * @throws ArgumentError for another number of values than n^2.
 */
export function orthogonalFactor(matrix: Float64Array, n: number): Float64Array {
  requireLength("matrix", matrix, n * n);
  // The columns of the matrix lie contiguously: reflections act on columns.
  const columns = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) columns[j * n + i] = matrix[i * n + j]!;
  }
  const scales = new Float64Array(n);
  const signs = new Float64Array(n);
  for (let step = 0; step < n; step++) {
    const start = step * n;
    let squares = 0;
    for (let i = step; i < n; i++) squares += columns[start + i]! * columns[start + i]!;
    const pivot = columns[start + step]!;
    const norm = pivot < 0 ? Math.sqrt(squares) : -Math.sqrt(squares);
    // R's diagonal is `norm`; Q's column takes its sign.
    signs[step] = norm < 0 ? -1 : 1;
    if (norm === 0) continue;
    columns[start + step] = pivot - norm;
    scales[step] = 1 / (norm * (norm - pivot));
    for (let j = step + 1; j < n; j++) reflect(columns, start, scales[step]!, columns, j * n, step, n);
  }
  const q = new Float64Array(n * n);
  for (let j = 0; j < n; j++) {
    q[j * n + j] = signs[j]!;
    // Reflections after the j-th act on entries that are still zero.
    for (let step = j; step >= 0; step--) reflect(columns, step * n, scales[step]!, q, j * n, step, n);
  }
  const out = new Float64Array(n * n);
  for (let j = 0; j < n; j++) {
    for (let i = 0; i < n; i++) out[i * n + j] = q[j * n + i]!;
  }
  return out;
}

/** Applies I - scale v v^T, where v is nonzero from index `from` on, to one column in place. */
function reflect(
  vectors: Float64Array,
  vectorStart: number,
  scale: number,
  target: Float64Array,
  targetStart: number,
  from: number,
  n: number,
): void {
  if (scale === 0) return;
  let sum = 0;
  for (let i = from; i < n; i++) sum += vectors[vectorStart + i]! * target[targetStart + i]!;
  sum *= scale;
  if (sum === 0) return;
  for (let i = from; i < n; i++) target[targetStart + i]! -= sum * vectors[vectorStart + i]!;
}
