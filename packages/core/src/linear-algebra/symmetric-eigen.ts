import { requireFinite, requireLength, requireObject } from "../checks.ts";
import { FavorError } from "../errors.ts";
import { multiplyTransposed } from "./products.ts";

/** Eigenvalues in descending order, and their orthonormal eigenvectors as the ROWS of `vectors` `[n, n]`. */
export interface SymmetricEigen {
  readonly values: Float64Array;
  readonly vectors: Float64Array;
}

/**
 * The eigendecomposition of a symmetric matrix `[n, n]`: Householder tridiagonalisation, then the implicit QL algorithm
 * (EISPACK tred2 and tql2, after Bowdler, Martin, Reinsch and Wilkinson). O(n^3). Uses only + - * / sqrt, so every
 * engine gives the same bits. The sign of each vector is chosen so that its largest entry is positive.
 *
 * @throws ArgumentError for a wrong length or a value that is not finite; FavorError `no-convergence`.
 */
export function symmetricEigen(matrix: Float64Array, n: number): SymmetricEigen {
  requireLength("matrix", matrix, n * n);
  requireFinite("matrix", matrix);
  // Rows of `work` are columns of the textbook's V, so that the inner loops run along memory.
  const work = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) work[i * n + j] = 0.5 * (matrix[i * n + j]! + matrix[j * n + i]!);
  }
  const diagonal = new Float64Array(n);
  const offDiagonal = new Float64Array(n);
  tridiagonalize(work, diagonal, offDiagonal, n);
  diagonalize(work, diagonal, offDiagonal, n);
  const order = Array.from(diagonal.keys()).toSorted((a, b) => diagonal[b]! - diagonal[a]! || a - b);
  const values = new Float64Array(n);
  const vectors = new Float64Array(n * n);
  for (const [target, source] of order.entries()) {
    values[target] = diagonal[source]!;
    let largest = 0;
    for (let i = 0; i < n; i++) {
      const value = work[source * n + i]!;
      if (Math.abs(value) > Math.abs(largest) * (1 + 1e-9)) largest = value;
    }
    const sign = largest < 0 ? -1 : 1;
    for (let i = 0; i < n; i++) vectors[target * n + i] = sign * work[source * n + i]!;
  }
  return { values, vectors };
}

/** `V^T f(lambda) V` for the eigenvectors in the rows of V: a function of a symmetric matrix, `[n, n]`. */
export function symmetricFunction(eigen: SymmetricEigen, f: (eigenvalue: number) => number): Float64Array {
  requireObject("eigen", eigen, "what symmetricEigen gives");
  const n = eigen.values.length;
  const columns = new Float64Array(n * n);
  const scaled = new Float64Array(n * n);
  for (let l = 0; l < n; l++) {
    const factor = f(eigen.values[l]!);
    for (let i = 0; i < n; i++) {
      const value = eigen.vectors[l * n + i]!;
      columns[i * n + l] = value;
      scaled[i * n + l] = value * factor;
    }
  }
  return multiplyTransposed(scaled, columns, n, n, n);
}

/** Reduces `v` (symmetric; overwritten by the accumulated transformation, transposed) to diagonal d, subdiagonal e. */
function tridiagonalize(v: Float64Array, d: Float64Array, e: Float64Array, n: number): void {
  for (let j = 0; j < n; j++) d[j] = v[j * n + n - 1]!;
  for (let i = n - 1; i > 0; i--) {
    let scale = 0;
    let h = 0;
    for (let k = 0; k < i; k++) scale += Math.abs(d[k]!);
    if (scale === 0) {
      e[i] = d[i - 1]!;
      for (let j = 0; j < i; j++) {
        d[j] = v[j * n + i - 1]!;
        v[j * n + i] = 0;
        v[i * n + j] = 0;
      }
    } else {
      for (let k = 0; k < i; k++) {
        d[k]! /= scale;
        h += d[k]! * d[k]!;
      }
      const f = d[i - 1]!;
      const g = f > 0 ? -Math.sqrt(h) : Math.sqrt(h);
      e[i] = scale * g;
      h -= f * g;
      d[i - 1] = f - g;
      e.fill(0, 0, i);
      for (let j = 0; j < i; j++) {
        const dj = d[j]!;
        v[i * n + j] = dj;
        let sum = e[j]! + v[j * n + j]! * dj;
        for (let k = j + 1; k < i; k++) {
          sum += v[j * n + k]! * d[k]!;
          e[k]! += v[j * n + k]! * dj;
        }
        e[j] = sum;
      }
      let projection = 0;
      for (let j = 0; j < i; j++) {
        e[j]! /= h;
        projection += e[j]! * d[j]!;
      }
      const half = projection / (h + h);
      for (let j = 0; j < i; j++) e[j]! -= half * d[j]!;
      for (let j = 0; j < i; j++) {
        const dj = d[j]!;
        const ej = e[j]!;
        for (let k = j; k < i; k++) v[j * n + k]! -= dj * e[k]! + ej * d[k]!;
        d[j] = v[j * n + i - 1]!;
        v[j * n + i] = 0;
      }
    }
    d[i] = h;
  }
  accumulateTransformations(v, d, n);
  e[0] = 0;
}

function accumulateTransformations(v: Float64Array, d: Float64Array, n: number): void {
  for (let i = 0; i < n - 1; i++) {
    v[i * n + n - 1] = v[i * n + i]!;
    v[i * n + i] = 1;
    const h = d[i + 1]!;
    const next = (i + 1) * n;
    if (h !== 0) {
      for (let k = 0; k <= i; k++) d[k] = v[next + k]! / h;
      for (let j = 0; j <= i; j++) {
        let g = 0;
        for (let k = 0; k <= i; k++) g += v[next + k]! * v[j * n + k]!;
        for (let k = 0; k <= i; k++) v[j * n + k]! -= g * d[k]!;
      }
    }
    for (let k = 0; k <= i; k++) v[next + k] = 0;
  }
  for (let j = 0; j < n; j++) {
    d[j] = v[j * n + n - 1]!;
    v[j * n + n - 1] = 0;
  }
  v[n * n - 1] = 1;
}

/** Implicit QL on (d, e); the rows of v follow the rotations. */
function diagonalize(v: Float64Array, d: Float64Array, e: Float64Array, n: number): void {
  for (let i = 1; i < n; i++) e[i - 1] = e[i]!;
  e[n - 1] = 0;
  let shift = 0;
  let largest = 0;
  for (let l = 0; l < n; l++) {
    largest = Math.max(largest, Math.abs(d[l]!) + Math.abs(e[l]!));
    let m = l;
    while (m < n - 1 && Math.abs(e[m]!) > Number.EPSILON * largest) m++;
    for (let sweep = 0; Math.abs(e[l]!) > Number.EPSILON * largest; sweep++) {
      if (sweep === 100) {
        throw new FavorError(`The eigenvalues of a ${n} x ${n} matrix did not converge in 100 QL sweeps.`, {
          code: "no-convergence",
          details: { n, sweeps: 100 },
        });
      }
      shift += sweepQl(v, d, e, l, m, n);
    }
    d[l]! += shift;
    e[l] = 0;
  }
}

/** One implicit QL sweep over the unreduced block l to m; returns the shift taken from the diagonal. */
function sweepQl(v: Float64Array, d: Float64Array, e: Float64Array, l: number, m: number, n: number): number {
  const first = d[l]!;
  const slope = (d[l + 1]! - first) / (2 * e[l]!);
  const root = slope < 0 ? -hypotenuse(slope, 1) : hypotenuse(slope, 1);
  d[l] = e[l]! / (slope + root);
  d[l + 1] = e[l]! * (slope + root);
  const next = d[l + 1]!;
  const shift = first - d[l]!;
  for (let i = l + 2; i < n; i++) d[i]! -= shift;
  const subdiagonal = e[l + 1]!;
  let p = d[m]!;
  let c = 1;
  let c2 = 1;
  let c3 = 1;
  let s = 0;
  let s2 = 0;
  for (let i = m - 1; i >= l; i--) {
    c3 = c2;
    c2 = c;
    s2 = s;
    const g = c * e[i]!;
    const h = c * p;
    const r = hypotenuse(p, e[i]!);
    e[i + 1] = s * r;
    s = e[i]! / r;
    c = p / r;
    p = c * d[i]! - s * g;
    d[i + 1] = h + s * (c * g + s * d[i]!);
    for (let k = i * n; k < (i + 1) * n; k++) {
      const upper = v[k + n]!;
      const lower = v[k]!;
      v[k + n] = s * lower + c * upper;
      v[k] = c * lower - s * upper;
    }
  }
  p = (-s * s2 * c3 * subdiagonal * e[l]!) / next;
  e[l] = s * p;
  d[l] = c * p;
  return shift;
}

/** sqrt(a^2 + b^2) without overflow; Math.hypot's last bits are the engine's choice. */
function hypotenuse(a: number, b: number): number {
  const x = Math.abs(a);
  const y = Math.abs(b);
  if (x < y) return y * Math.sqrt(1 + (x / y) * (x / y));
  return x === 0 ? 0 : x * Math.sqrt(1 + (y / x) * (y / x));
}
