// exp of 4 float32 at a time: exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln(2) / 2, a polynomial of degree 6 in
// r (minimax over the interval with 1, 1, 1/2 fixed, error 4e-9), and n added to the exponent's bits. At most 2 ulp from exp in float64 (measured by the tests over the whole
// range); results below 2^-126, the least normal number, are 0; above the largest they are Infinity; NaN stays NaN.

import { madd } from "./madd";

const LOG2_E: f32 = <f32>Math.LOG2E;
// ln 2 in two parts, the first short enough for n times it to be exact without a fused product
const LN2_HIGH: f32 = 0.693359375;
const LN2_LOW: f32 = -0.00021219444;
/** 1.5 * 2^23: adding it leaves round(x) in the low bits of the sum. */
const ROUND: f32 = 12582912;
const C3: f32 = 0.1666653354137584;
const C4: f32 = 0.041667239920794116;
const C5: f32 = 0.008367543019938957;
const C6: f32 = 0.001386373214277621;
const LEAST: f32 = -87.3365447505;
const LARGEST: f32 = 88.7228317261;

function exp4(x: v128): v128 {
  // pmin and pmax with x first let NaN pass
  const bounded = f32x4.pmin(f32x4.pmax(x, f32x4.splat(LEAST)), f32x4.splat(LARGEST));
  const shifted = madd(bounded, f32x4.splat(LOG2_E), f32x4.splat(ROUND));
  const n = f32x4.sub(shifted, f32x4.splat(ROUND));
  let r = madd(n, f32x4.splat(-LN2_HIGH), bounded);
  r = madd(n, f32x4.splat(-LN2_LOW), r);
  let p = f32x4.splat(C6);
  p = madd(p, r, f32x4.splat(C5));
  p = madd(p, r, f32x4.splat(C4));
  p = madd(p, r, f32x4.splat(C3));
  p = madd(p, r, f32x4.splat(0.5));
  p = madd(p, r, f32x4.splat(1));
  p = madd(p, r, f32x4.splat(1));
  const scaled = i32x4.add(p, i32x4.shl(shifted, 23));
  // beyond the largest: Infinity; NaN, whose bits the shift may have changed: NaN
  const special = f32x4.add(x, f32x4.splat(Infinity));
  const bounds = v128.bitselect(scaled, special, f32x4.le(x, f32x4.splat(LARGEST)));
  return v128.andnot(bounds, f32x4.lt(x, f32x4.splat(LEAST)));
}

/** x[r, c] = exp(x[r, c] + rowShift[r] + columnShift[c]), x `[rows, cols]`, cols a multiple of 4. */
export function expRows(x: usize, rowShift: usize, columnShift: usize, rows: usize, cols: usize): void {
  const width = cols * 4;
  for (let row: usize = 0; row < rows; row++) {
    const shift = v128.load32_splat(rowShift + row * 4);
    for (let j: usize = 0; j < width; j += 16) {
      const sum = f32x4.add(v128.load(x + j), v128.load(columnShift + j));
      v128.store(x + j, exp4(f32x4.add(sum, shift)));
    }
    x += width;
  }
}
