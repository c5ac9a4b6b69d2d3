/**
 * `a b^T`: a `[rows, inner]`, b `[columns, inner]`, result `[rows, columns]`; all row-major. Blocks of 2 x 4 results
 * stay in registers; each is summed in order of `inner`, so the result does not depend on how rows are split over calls.
 */
export function multiplyTransposed(
  a: Float64Array,
  b: Float64Array,
  rows: number,
  inner: number,
  columns: number,
): Float64Array {
  const out = new Float64Array(rows * columns);
  const blockedRows = rows - (rows % 2);
  const blockedColumns = columns - (columns % 4);
  for (let i = 0; i < blockedRows; i += 2) {
    for (let j = 0; j < blockedColumns; j += 4) multiplyBlock(a, b, i, j, inner, columns, out);
  }
  for (let i = 0; i < rows; i++) {
    for (let j = i < blockedRows ? blockedColumns : 0; j < columns; j++) {
      out[i * columns + j] = dot(a, i * inner, b, j * inner, inner);
    }
  }
  return out;
}

/** Two rows of a times four rows of b. */
function multiplyBlock(
  a: Float64Array,
  b: Float64Array,
  i: number,
  j: number,
  inner: number,
  columns: number,
  out: Float64Array,
): void {
  const a0 = i * inner;
  const b0 = j * inner;
  let s00 = 0;
  let s01 = 0;
  let s02 = 0;
  let s03 = 0;
  let s10 = 0;
  let s11 = 0;
  let s12 = 0;
  let s13 = 0;
  for (let l = 0; l < inner; l++) {
    const x0 = a[a0 + l]!;
    const x1 = a[a0 + inner + l]!;
    const y0 = b[b0 + l]!;
    const y1 = b[b0 + inner + l]!;
    const y2 = b[b0 + 2 * inner + l]!;
    const y3 = b[b0 + 3 * inner + l]!;
    s00 += x0 * y0;
    s01 += x0 * y1;
    s02 += x0 * y2;
    s03 += x0 * y3;
    s10 += x1 * y0;
    s11 += x1 * y1;
    s12 += x1 * y2;
    s13 += x1 * y3;
  }
  const first = i * columns + j;
  out[first] = s00;
  out[first + 1] = s01;
  out[first + 2] = s02;
  out[first + 3] = s03;
  out[first + columns] = s10;
  out[first + columns + 1] = s11;
  out[first + columns + 2] = s12;
  out[first + columns + 3] = s13;
}

/** `a b`: a `[rows, inner]`, b `[inner, columns]`, result `[rows, columns]`; all row-major. */
export function multiply(a: Float64Array, b: Float64Array, rows: number, inner: number, columns: number): Float64Array {
  return multiplyTransposed(a, transpose(b, inner, columns), rows, inner, columns);
}

/** Rows of a block that {@link addTransposedProduct} transposes at a time: its columns then stay in cache. */
const blockRows = 256;

/** Adds `a^T b` to `out`: a `[rows, left]`, b `[rows, right]`, out `[left, right]`; all row-major. */
export function addTransposedProduct(
  a: Float64Array,
  b: Float64Array,
  rows: number,
  left: number,
  right: number,
  out: Float64Array,
): void {
  for (let first = 0; first < rows; first += blockRows) {
    const count = Math.min(blockRows, rows - first);
    const leftBlock = transpose(a.subarray(first * left, (first + count) * left), count, left);
    const same = a === b && left === right;
    const rightBlock = same ? leftBlock : transpose(b.subarray(first * right, (first + count) * right), count, right);
    const product = multiplyTransposed(leftBlock, rightBlock, left, count, right);
    for (let i = 0; i < out.length; i++) out[i]! += product[i]!;
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
