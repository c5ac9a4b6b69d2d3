import { DataType } from "./proto.ts";

/** A floating-point format of at most 16 bits. Value: (-1)^sign 2^(exponent - bias) (1 + mantissa / 2^mantissaBits). */
interface SmallFloat {
  readonly exponentBits: number;
  readonly mantissaBits: number;
  readonly bias: number;
  /**
   * ieee: the highest exponent means infinity and NaN. fn: only all ones mean NaN. fnuz: only minus zero means NaN.
   * finite: neither exists.
   */
  readonly specials: "ieee" | "fn" | "fnuz" | "finite";
}

const formats: ReadonlyMap<number, SmallFloat> = new Map([
  [DataType.FLOAT16 as number, { exponentBits: 5, mantissaBits: 10, bias: 15, specials: "ieee" }],
  [DataType.BFLOAT16, { exponentBits: 8, mantissaBits: 7, bias: 127, specials: "ieee" }],
  [DataType.FLOAT8E4M3FN, { exponentBits: 4, mantissaBits: 3, bias: 7, specials: "fn" }],
  [DataType.FLOAT8E4M3FNUZ, { exponentBits: 4, mantissaBits: 3, bias: 8, specials: "fnuz" }],
  [DataType.FLOAT8E5M2, { exponentBits: 5, mantissaBits: 2, bias: 15, specials: "ieee" }],
  [DataType.FLOAT8E5M2FNUZ, { exponentBits: 5, mantissaBits: 2, bias: 16, specials: "fnuz" }],
  [DataType.FLOAT6E2M3, { exponentBits: 2, mantissaBits: 3, bias: 1, specials: "finite" }],
  [DataType.FLOAT6E3M2, { exponentBits: 3, mantissaBits: 2, bias: 3, specials: "finite" }],
  [DataType.FLOAT4E2M1, { exponentBits: 2, mantissaBits: 1, bias: 1, specials: "finite" }],
]);

const tables = new Map<number, Float32Array>();

/**
 * The value of every bit pattern of a small float type (OCP 8-bit and MX formats, IEEE half, bfloat16), indexed by
 * the pattern; undefined if `dataType` is not such a type. All values are exact in float32.
 */
export function smallFloatTable(dataType: number): Float32Array | undefined {
  let table = tables.get(dataType);
  if (table !== undefined) return table;
  const format = formats.get(dataType);
  if (format !== undefined) {
    const patterns = 1 << (1 + format.exponentBits + format.mantissaBits);
    table = Float32Array.from({ length: patterns }, (_, bits) => smallFloat(format, bits));
  } else if (dataType === DataType.FLOAT8E8M0) {
    // No sign and no mantissa: a power of two, the scale of the MX formats.
    table = Float32Array.from({ length: 256 }, (_, bits) => (bits === 255 ? Number.NaN : 2 ** (bits - 127)));
  } else {
    return undefined;
  }
  tables.set(dataType, table);
  return table;
}

function smallFloat({ exponentBits, mantissaBits, bias, specials }: SmallFloat, bits: number): number {
  const highest = (1 << exponentBits) - 1;
  const sign = bits >>> (exponentBits + mantissaBits) === 1 ? -1 : 1;
  const exponent = (bits >>> mantissaBits) & highest;
  const mantissa = bits & ((1 << mantissaBits) - 1);
  if (specials === "ieee" && exponent === highest) return mantissa === 0 ? sign * Infinity : Number.NaN;
  if (specials === "fn" && exponent === highest && mantissa === (1 << mantissaBits) - 1) return Number.NaN;
  if (specials === "fnuz" && sign === -1 && exponent === 0 && mantissa === 0) return Number.NaN;
  const fraction = mantissa / (1 << mantissaBits);
  return sign * (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias));
}

const float = new Float32Array(1);
const floatBits = new Uint32Array(float.buffer);

/** The bit pattern of `value` in bfloat16: round to nearest, ties to even; NaN stays NaN. */
export function toBfloat16(value: number): number {
  float[0] = value;
  const bits = floatBits[0]!;
  if (Number.isNaN(value)) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** The bit pattern of `value` in IEEE half precision: round to nearest, ties to even; infinity beyond 65504. */
export function toFloat16(value: number): number {
  float[0] = value;
  const bits = floatBits[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = Math.abs(float[0]);
  if (Number.isNaN(magnitude)) return sign | 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00;
  if (magnitude < 2 ** -14) {
    // Subnormal: a multiple of 2^-24. Adding 2^52 * 2^-24 makes the processor round (to even).
    return sign | (magnitude / 2 ** -24 + 2 ** 52 - 2 ** 52);
  }
  const rounded = (bits & 0x7fffffff) + 0xfff + ((bits >>> 13) & 1);
  return sign | ((rounded - (112 << 23)) >>> 13);
}
