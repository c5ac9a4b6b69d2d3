/**
 * `a b^T`: a `[rows, inner]`, b `[columns, inner]`, result `[rows, columns]`; all row-major. Four columns are summed
 * at a time, each in order of `inner`, so the result does not depend on how the rows are split over calls.
 */
export function multiplyTransposed(
  a: Float64Array,
  b: Float64Array,
  rows: number,
  inner: number,
  columns: number,
): Float64Array {
  const out = new Float64Array(rows * columns);
  const blocked = columns - (columns % 4);
  for (let i = 0; i < rows; i++) {
    const start = i * inner;
    for (let j = 0; j < blocked; j += 4) {
      let sum0 = 0;
      let sum1 = 0;
      let sum2 = 0;
      let sum3 = 0;
      let at = j * inner;
      for (let l = 0; l < inner; l++, at++) {
        const value = a[start + l]!;
        sum0 += value * b[at]!;
        sum1 += value * b[at + inner]!;
        sum2 += value * b[at + 2 * inner]!;
        sum3 += value * b[at + 3 * inner]!;
      }
      const target = i * columns + j;
      out[target] = sum0;
      out[target + 1] = sum1;
      out[target + 2] = sum2;
      out[target + 3] = sum3;
    }
    for (let j = blocked; j < columns; j++) {
      let sum = 0;
      for (let l = 0; l < inner; l++) sum += a[start + l]! * b[j * inner + l]!;
      out[i * columns + j] = sum;
    }
  }
  return out;
}

/** `a b`: a `[rows, inner]`, b `[inner, columns]`, result `[rows, columns]`; all row-major. */
export function multiply(a: Float64Array, b: Float64Array, rows: number, inner: number, columns: number): Float64Array {
  return multiplyTransposed(a, transpose(b, inner, columns), rows, inner, columns);
}

/**
 * Adds `a^T b` to `out`: a `[rows, left]`, b `[rows, right]`, out `[left, right]`; all row-major. Four rows at a
 * time, because the traffic to `out` is what costs.
 */
export function addTransposedProduct(
  a: Float64Array,
  b: Float64Array,
  rows: number,
  left: number,
  right: number,
  out: Float64Array,
): void {
  const blocked = rows - (rows % 4);
  for (let r = 0; r < blocked; r += 4) {
    const b0 = r * right;
    const b1 = b0 + right;
    const b2 = b1 + right;
    const b3 = b2 + right;
    for (let i = 0; i < left; i++) {
      const a0 = a[r * left + i]!;
      const a1 = a[(r + 1) * left + i]!;
      const a2 = a[(r + 2) * left + i]!;
      const a3 = a[(r + 3) * left + i]!;
      const target = i * right;
      for (let j = 0; j < right; j++) {
        out[target + j]! += a0 * b[b0 + j]! + a1 * b[b1 + j]! + (a2 * b[b2 + j]! + a3 * b[b3 + j]!);
      }
    }
  }
  for (let r = blocked; r < rows; r++) {
    for (let i = 0; i < left; i++) {
      const value = a[r * left + i]!;
      for (let j = 0; j < right; j++) out[i * right + j]! += value * b[r * right + j]!;
    }
  }
}

/** The transpose `[columns, rows]` of a row-major `[rows, columns]` matrix. */
export function transpose(matrix: Float64Array, rows: number, columns: number): Float64Array {
  const out = new Float64Array(matrix.length);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) out[j * rows + i] = matrix[i * columns + j]!;
  }
  return out;
}

/** The identity `[n, n]`. */
export function identity(n: number): Float64Array {
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) out[i * n + i] = 1;
  return out;
}

/** The dot product of `length` values of `a` from `aStart` and of `b` from `bStart`. */
export function dot(a: Float64Array, aStart: number, b: Float64Array, bStart: number, length: number): number {
  let sum = 0;
  for (let i = 0; i < length; i++) sum += a[aStart + i]! * b[bStart + i]!;
  return sum;
}
