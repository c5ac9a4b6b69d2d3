// The highest rate of float32 arithmetic that WebAssembly SIMD reaches on this machine: 10 independent chains of a
// multiplication and an addition (fused where the build has relaxed SIMD), all in registers.

function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(c, f32x4.mul(a, b));
}

/** Runs 80 floating-point operations per turn; returns a number that depends on all of them. */
export function chains(turns: i32, factor: f32): f32 {
  const x = f32x4.splat(factor);
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(1);
  let s2 = f32x4.splat(2);
  let s3 = f32x4.splat(3);
  let s4 = f32x4.splat(4);
  let s5 = f32x4.splat(5);
  let s6 = f32x4.splat(6);
  let s7 = f32x4.splat(7);
  let s8 = f32x4.splat(8);
  let s9 = f32x4.splat(9);
  for (let i = 0; i < turns; i++) {
    s0 = madd(s0, x, x);
    s1 = madd(s1, x, x);
    s2 = madd(s2, x, x);
    s3 = madd(s3, x, x);
    s4 = madd(s4, x, x);
    s5 = madd(s5, x, x);
    s6 = madd(s6, x, x);
    s7 = madd(s7, x, x);
    s8 = madd(s8, x, x);
    s9 = madd(s9, x, x);
  }
  const low = f32x4.add(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)), f32x4.add(s4, s5));
  const all = f32x4.add(low, f32x4.add(f32x4.add(s6, s7), f32x4.add(s8, s9)));
  return f32x4.extract_lane(all, 0);
}
