/*
 * Logarithm, sine and cosine from + - * / alone. ECMAScript leaves the last bits of Math.log, Math.sin and Math.cos
 * to the engine; a projection has to be the same to the bit everywhere, so it may not use them. The polynomials and
 * the argument split are those of fdlibm (e_log.c, k_sin.c, k_cos.c; Copyright 1993 Sun Microsystems, freely usable).
 */

const ln2High = 6.9314718036912381649e-1;
const ln2Low = 1.90821492927058770002e-10;
const sqrtHalf = Math.SQRT1_2;
const twoTo32 = 4294967296;

/**
 * The natural logarithm of a positive finite number, within 1 ulp; equal to the bit on every engine. 0 gives
 * -Infinity; a negative number or NaN gives NaN.
 */
export function log(x: number): number {
  if (!(x > 0)) return x === 0 ? -Infinity : NaN;
  if (x === Infinity) return Infinity;
  let exponent = 0;
  let mantissa = x;
  while (mantissa < 1 / twoTo32) {
    mantissa *= twoTo32;
    exponent -= 32;
  }
  while (mantissa > twoTo32) {
    mantissa /= twoTo32;
    exponent += 32;
  }
  while (mantissa < sqrtHalf) {
    mantissa *= 2;
    exponent -= 1;
  }
  while (mantissa > Math.SQRT2) {
    mantissa /= 2;
    exponent += 1;
  }
  const f = mantissa - 1;
  const s = f / (2 + f);
  const z = s * s;
  const w = z * z;
  const even = w * (3.999999999940941908e-1 + w * (2.222219843214978396e-1 + w * 1.531383769920937332e-1));
  const odd =
    z *
    (6.66666666666673513e-1 +
      w * (2.857142874366239149e-1 + w * (1.818357216161805012e-1 + w * 1.479819860511658591e-1)));
  const halfSquare = 0.5 * f * f;
  return exponent * ln2High - (halfSquare - (s * (halfSquare + even + odd) + exponent * ln2Low) - f);
}

/** sin(r) for |r| <= pi/4. */
function sinKernel(r: number): number {
  const z = r * r;
  const tail =
    8.33333333332248946124e-3 +
    z *
      (-1.98412698298579493134e-4 +
        z * (2.75573137070700676789e-6 + z * (-2.50507602534068634195e-8 + z * 1.58969099521155010221e-10)));
  return r + z * r * (-1.66666666666666324348e-1 + z * tail);
}

/** cos(r) for |r| <= pi/4. */
function cosKernel(r: number): number {
  const z = r * r;
  const tail =
    z *
    (4.16666666666666019037e-2 +
      z *
        (-1.38888888888741095749e-3 +
          z *
            (2.48015872894767294178e-5 +
              z * (-2.75573143513906633035e-7 + z * (2.0875723212981748279e-9 - z * 1.13596475577881948265e-11)))));
  const half = 0.5 * z;
  const rest = 1 - half;
  return rest + (1 - rest - half + z * tail);
}

/**
 * `[cos(2 pi u), sin(2 pi u)]` for a fraction of a turn `u` in [0, 1]; within 2 ulp, equal to the bit on every
 * engine. The reduction to an eighth of a turn is exact because `u` is a fraction, not an angle.
 */
export function cosSinTurn(u: number): [cos: number, sin: number] {
  const quarter = Math.floor(4 * u + 0.5);
  const r = (u - quarter / 4) * (2 * Math.PI);
  const c = cosKernel(r);
  const s = sinKernel(r);
  switch (quarter % 4) {
    case 0:
      return [c, s];
    case 1:
      return [-s, c];
    case 2:
      return [-c, -s];
    default:
      return [s, -c];
  }
}
