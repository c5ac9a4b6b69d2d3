import { requireLength } from "../checks.ts";

/**
 * The orthogonal factor of the QR decomposition of a square matrix, by Householder reflections, with the signs chosen
 * so that R has a positive diagonal. That makes the factorisation unique, and Q of a Gaussian matrix uniform (Haar)
 * over the orthogonal group (Mezzadri, math-ph/0609050); otherwise the distribution would be biased.
 *
 * @param matrix `[n, n]` row-major; not changed. A zero column gives an arbitrary orthogonal completion.
 * @returns Q, `[n, n]` row-major. Uses only + - * / sqrt, so every engine gives the same bits.
 * @throws ArgumentError unless there are n^2 values.
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
    reflect(columns, start, scales[step]!, columns, step + 1, step, n);
  }
  const q = new Float64Array(n * n);
  for (let j = 0; j < n; j++) q[j * n + j] = signs[j]!;
  // Reflections after the j-th would act on entries of column j that are still zero.
  for (let step = n - 1; step >= 0; step--) reflect(columns, step * n, scales[step]!, q, step, step, n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) {
      const entry = q[i * n + j]!;
      q[i * n + j] = q[j * n + i]!;
      q[j * n + i] = entry;
    }
  }
  return q;
}

/**
 * Applies I - scale v v^T in place to the columns from `first` to the last, of `n` values each; v is nonzero from index
 * `from` on. Takes four columns at a time: a single sum would wait for its last addition. The order of each sum is the
 * same.
 */
function reflect(
  vectors: Float64Array,
  vectorStart: number,
  scale: number,
  target: Float64Array,
  first: number,
  from: number,
  n: number,
): void {
  if (scale === 0) return;
  let column = first;
  for (; column + 4 <= n; column += 4) {
    const a = column * n;
    const b = a + n;
    const c = b + n;
    const d = c + n;
    let sumA = 0;
    let sumB = 0;
    let sumC = 0;
    let sumD = 0;
    for (let i = from; i < n; i++) {
      const v = vectors[vectorStart + i]!;
      sumA += v * target[a + i]!;
      sumB += v * target[b + i]!;
      sumC += v * target[c + i]!;
      sumD += v * target[d + i]!;
    }
    sumA *= scale;
    sumB *= scale;
    sumC *= scale;
    sumD *= scale;
    for (let i = from; i < n; i++) {
      const v = vectors[vectorStart + i]!;
      target[a + i]! -= sumA * v;
      target[b + i]! -= sumB * v;
      target[c + i]! -= sumC * v;
      target[d + i]! -= sumD * v;
    }
  }
  for (; column < n; column++) {
    const start = column * n;
    let sum = 0;
    for (let i = from; i < n; i++) sum += vectors[vectorStart + i]! * target[start + i]!;
    sum *= scale;
    for (let i = from; i < n; i++) target[start + i]! -= sum * vectors[vectorStart + i]!;
  }
}
