/**
 * Floating-point formats that JavaScript has no array for. Their values are kept in Float32Array, each a value that
 * the format can hold.
 */

/** Layout of a small floating-point format and what it does with special values. */
export interface FloatFormat {
  readonly exponentBits: number;
  readonly mantissaBits: number;
  readonly bias: number;
  /** Largest finite value. */
  readonly max: number;
  readonly hasInfinity: boolean;
  readonly hasNaN: boolean;
  /** The FNUZ formats have no negative zero: its code is NaN. */
  readonly hasNegativeZero: boolean;
}

const format = (exponentBits: number, mantissaBits: number, bias: number, max: number, kind: string): FloatFormat => ({
  exponentBits,
  mantissaBits,
  bias,
  max,
  hasInfinity: kind === "ieee",
  hasNaN: kind !== "finite",
  hasNegativeZero: kind !== "fnuz",
});

/** IEEE half precision. */
export const float16: FloatFormat = format(5, 10, 15, 65504, "ieee");
export const bfloat16: FloatFormat = format(8, 7, 127, (2 - 2 ** -7) * 2 ** 127, "ieee");
export const float8E4M3FN: FloatFormat = format(4, 3, 7, 448, "fn");
export const float8E4M3FNUZ: FloatFormat = format(4, 3, 8, 240, "fnuz");
export const float8E5M2: FloatFormat = format(5, 2, 15, 57344, "ieee");
export const float8E5M2FNUZ: FloatFormat = format(5, 2, 16, 57344, "fnuz");
export const float4E2M1: FloatFormat = format(2, 1, 1, 6, "finite");

/**
 * `value` rounded to the nearest number of the format, ties to even. Numbers beyond `max` become infinite (NaN if the
 * format has no infinity), or `max` if `saturate`, as ONNX Cast defines. NaN becomes 0 in a format without it.
 */
export function roundTo(value: number, target: FloatFormat, saturate: boolean = false): number {
  if (Number.isNaN(value)) return target.hasNaN ? value : 0;
  const sign = value < 0 || Object.is(value, -0) ? -1 : 1;
  const magnitude = Math.abs(value);
  if (magnitude === 0) return target.hasNegativeZero ? value : 0;
  const saturates = saturate || !target.hasNaN;
  const overflow = target.hasInfinity ? sign * Infinity : NaN;
  if (magnitude === Infinity) return saturates ? sign * target.max : overflow;
  const exponent = Math.max(floorLog2(magnitude), 1 - target.bias);
  const unit = powersOfTwo[exponent - target.mantissaBits - leastPower]!;
  const steps = magnitude / unit;
  let whole = Math.floor(steps);
  const rest = steps - whole;
  if (rest > 0.5 || (rest === 0.5 && whole % 2 === 1)) whole += 1;
  const rounded = whole * unit;
  if (rounded > target.max) return saturates ? sign * target.max : overflow;
  if (rounded === 0 && !target.hasNegativeZero) return 0;
  return sign * rounded;
}

/** {@link roundTo} for each number in place, most by integer arithmetic on their codes. */
export function roundAll(values: Float32Array, target: FloatFormat): void {
  const codes = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const dropped = 23 - target.mantissaBits;
  const half = 2 ** (dropped - 1) - 1;
  const kept = -(2 ** dropped);
  const limits = new Uint32Array(Float32Array.of(2 ** (1 - target.bias), target.max).buffer);
  const [least, largest] = [limits[0]!, limits[1]!];
  for (let i = 0; i < values.length; i++) {
    const code = codes[i]!;
    const magnitude = code & 0x7fffffff;
    const rounded = (magnitude + half + ((magnitude >>> dropped) & 1)) & kept;
    if (magnitude >= least && magnitude <= largest && rounded <= largest) codes[i] = (code & 0x80000000) | rounded;
    else values[i] = roundTo(values[i]!, target);
  }
}

const double = new Float64Array(1);
const halves = new Uint32Array(double.buffer);
/** Index of the half of a double that has its exponent. */
const high = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1 ? 1 : 0;

/** The exponent of a positive number; of a subnormal one, some exponent below all others. */
function floorLog2(magnitude: number): number {
  double[0] = magnitude;
  return (halves[high]! >>> 20) - 1023;
}

const leastPower = -1074;
const powersOfTwo = Float64Array.from({ length: 2098 }, (_, i) => 2 ** (leastPower + i));
