// cos of 4 float32 at a time: cos(x) = (-1)^n cos(r), n = round(x / pi), |r| <= pi / 2 about, the Taylor polynomial of degree
// 12 in r (error 7e-9). Absolute error at most 3e-7 while |x| <= 8192 (measured by the tests); beyond it the result
// stays within [-1, 1], for float32 holds no more of the angle. Infinity and NaN give NaN.

import { madd } from "./madd";

const ONE_OVER_PI: f32 = 0.3183098861837907;
// pi in three parts, the first two short enough for n times them to be exact (n below 2^14) without a fused product
const PI_HIGH: f32 = 3.140625;
const PI_MIDDLE: f32 = 0.000967502593994140625;
const PI_LOW: f32 = 1.509957990978376e-7;
/** 1.5 * 2^23: adding it leaves round(x) in the low bits of the sum. */
const ROUND: f32 = 12582912;
/** A little beyond pi / 2, for x / pi is rounded before n is. */
const LARGEST: f32 = 1.58;

function cos4(x: v128): v128 {
  const shifted = madd(x, f32x4.splat(ONE_OVER_PI), f32x4.splat(ROUND));
  const n = f32x4.sub(shifted, f32x4.splat(ROUND));
  let r = madd(n, f32x4.splat(-PI_HIGH), x);
  r = madd(n, f32x4.splat(-PI_MIDDLE), r);
  r = madd(n, f32x4.splat(-PI_LOW), r);
  // pmin and pmax with r first let NaN pass
  r = f32x4.pmin(f32x4.pmax(r, f32x4.splat(-LARGEST)), f32x4.splat(LARGEST));
  const s = f32x4.mul(r, r);
  let p = f32x4.splat(2.08767569878681e-9);
  p = madd(p, s, f32x4.splat(-2.755731922398589e-7));
  p = madd(p, s, f32x4.splat(2.48015873015873e-5));
  p = madd(p, s, f32x4.splat(-0.001388888888888889));
  p = madd(p, s, f32x4.splat(0.041666666666666664));
  p = madd(p, s, f32x4.splat(-0.5));
  p = madd(p, s, f32x4.splat(1));
  return v128.xor(p, i32x4.shl(shifted, 31));
}

/** x[r, c] = cos(x[r, c] + columnShift[c]), x `[rows, cols]`, cols a multiple of 4. */
export function cosRows(x: usize, columnShift: usize, rows: usize, cols: usize): void {
  const width = cols * 4;
  for (let row: usize = 0; row < rows; row++) {
    for (let j: usize = 0; j < width; j += 16) {
      v128.store(x + j, cos4(f32x4.add(v128.load(x + j), v128.load(columnShift + j))));
    }
    x += width;
  }
}
