// Dense products of float32 blocks. Written in AssemblyScript: `usize` is an address in the module's memory,
// strides ("lda") and sizes are in bytes where named *Bytes and in numbers otherwise. Columns are multiples of 8.
//
// The register block is 4 rows by 8 columns: 8 accumulators, 2 vectors of B and 1 broadcast of A fit x86-64's 15
// usable xmm registers with room for the product, and 8 independent sums hide the latency of the addition.

import { madd } from "./madd";

/**
 * C = A B, or C += A B: A `[rows, depth]`, B `[depth, cols]`, C `[rows, cols]`. A is read at `row * aRow + k * aDepth`
 * bytes, so that A^T B is the same product with the strides exchanged. Each row's result is independent of the others.
 */
export function matmul(
  c: usize,
  a: usize,
  b: usize,
  rows: usize,
  cols: usize,
  depth: usize,
  aRow: usize,
  aDepth: usize,
  bDepth: usize,
  cRow: usize,
  accumulate: bool,
): void {
  const blocked = rows & ~(<usize>3);
  for (let j: usize = 0; j < cols; j += 8) {
    const panel = b + j * 4;
    let out = c + j * 4;
    let left = a;
    for (let i: usize = 0; i < blocked; i += 4) {
      block4x8(out, left, panel, depth, aRow, aDepth, bDepth, cRow, accumulate);
      out += 4 * cRow;
      left += 4 * aRow;
    }
    for (let i = blocked; i < rows; i++) {
      block1x8(out, left, panel, depth, aDepth, bDepth, accumulate);
      out += cRow;
      left += aRow;
    }
  }
}

/** C += tril(A) B with A `[rows, rows]`: row i takes B's rows 0..i and reads no other. */
export function matmulLower(
  c: usize,
  a: usize,
  b: usize,
  rows: usize,
  cols: usize,
  aRow: usize,
  bDepth: usize,
  cRow: usize,
): void {
  for (let j: usize = 0; j < cols; j += 8) {
    const panel = b + j * 4;
    for (let i: usize = 0; i < rows; i += 4) {
      let out = c + i * cRow + j * 4;
      let left = a + i * aRow;
      const whole = i + 4 <= rows;
      if (whole) block4x8(out, left, panel, i, aRow, 4, bDepth, cRow, true);
      // the triangle; sums in the same order whether the block is whole or not, so that no row depends on later ones
      for (let row = i; row < min(rows, i + 4); row++) {
        if (!whole) block1x8(out, left, panel, i, 4, bDepth, true);
        block1x8(out, left + i * 4, panel + i * bDepth, row + 1 - i, 4, bDepth, true);
        out += cRow;
        left += aRow;
      }
    }
  }
}

function block4x8(
  c: usize,
  a: usize,
  b: usize,
  depth: usize,
  aRow: usize,
  aDepth: usize,
  bDepth: usize,
  cRow: usize,
  accumulate: bool,
): void {
  let a0 = a;
  let a1 = a0 + aRow;
  let a2 = a1 + aRow;
  let a3 = a2 + aRow;
  const c1 = c + cRow;
  const c2 = c1 + cRow;
  const c3 = c2 + cRow;
  let s00 = f32x4.splat(0);
  let s01 = s00;
  let s10 = s00;
  let s11 = s00;
  let s20 = s00;
  let s21 = s00;
  let s30 = s00;
  let s31 = s00;
  for (let k: usize = 0; k < depth; k++) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    const x0 = v128.load32_splat(a0);
    s00 = madd(x0, b0, s00);
    s01 = madd(x0, b1, s01);
    const x1 = v128.load32_splat(a1);
    s10 = madd(x1, b0, s10);
    s11 = madd(x1, b1, s11);
    const x2 = v128.load32_splat(a2);
    s20 = madd(x2, b0, s20);
    s21 = madd(x2, b1, s21);
    const x3 = v128.load32_splat(a3);
    s30 = madd(x3, b0, s30);
    s31 = madd(x3, b1, s31);
    a0 += aDepth;
    a1 += aDepth;
    a2 += aDepth;
    a3 += aDepth;
    b += bDepth;
  }
  if (accumulate) {
    s00 = f32x4.add(s00, v128.load(c));
    s01 = f32x4.add(s01, v128.load(c, 16));
    s10 = f32x4.add(s10, v128.load(c1));
    s11 = f32x4.add(s11, v128.load(c1, 16));
    s20 = f32x4.add(s20, v128.load(c2));
    s21 = f32x4.add(s21, v128.load(c2, 16));
    s30 = f32x4.add(s30, v128.load(c3));
    s31 = f32x4.add(s31, v128.load(c3, 16));
  }
  v128.store(c, s00);
  v128.store(c, s01, 16);
  v128.store(c1, s10);
  v128.store(c1, s11, 16);
  v128.store(c2, s20);
  v128.store(c2, s21, 16);
  v128.store(c3, s30);
  v128.store(c3, s31, 16);
}

function block1x8(c: usize, a: usize, b: usize, depth: usize, aDepth: usize, bDepth: usize, accumulate: bool): void {
  let s0 = f32x4.splat(0);
  let s1 = s0;
  for (let k: usize = 0; k < depth; k++) {
    const x = v128.load32_splat(a);
    s0 = madd(x, v128.load(b), s0);
    s1 = madd(x, v128.load(b, 16), s1);
    a += aDepth;
    b += bDepth;
  }
  if (accumulate) {
    s0 = f32x4.add(s0, v128.load(c));
    s1 = f32x4.add(s1, v128.load(c, 16));
  }
  v128.store(c, s0);
  v128.store(c, s1, 16);
}

/** out `[cols, rows]` = the transpose of x `[rows, cols]`; rows and cols are multiples of 4. */
export function transpose(out: usize, x: usize, rows: usize, cols: usize, outRow: usize, xRow: usize): void {
  for (let i: usize = 0; i < rows; i += 4) {
    for (let j: usize = 0; j < cols; j += 4) {
      const from = x + i * xRow + j * 4;
      const r0 = v128.load(from);
      const r1 = v128.load(from + xRow);
      const r2 = v128.load(from + 2 * xRow);
      const r3 = v128.load(from + 3 * xRow);
      const t0 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
      const t1 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
      const t2 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
      const t3 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
      const to = out + j * outRow + i * 4;
      v128.store(to, v128.shuffle<f32>(t0, t2, 0, 1, 4, 5));
      v128.store(to + outRow, v128.shuffle<f32>(t0, t2, 2, 3, 6, 7));
      v128.store(to + 2 * outRow, v128.shuffle<f32>(t1, t3, 0, 1, 4, 5));
      v128.store(to + 3 * outRow, v128.shuffle<f32>(t1, t3, 2, 3, 6, 7));
    }
  }
}
