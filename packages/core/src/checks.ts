import { ArgumentError } from "./errors.ts";

/**
 * Throws {@link ArgumentError} unless `given` is an object, since plain JavaScript may leave out options. `example`
 * shows one.
 */
export function requireObject(argument: string, given: unknown, example: string): void {
  if (typeof given !== "object" || given === null) {
    throw new ArgumentError(argument, `an object such as ${example}`, given);
  }
}

/** Throws {@link ArgumentError} unless `given` is an array or a typed array. */
export function requireArray(argument: string, given: unknown, expected: string): void {
  if (!Array.isArray(given) && !ArrayBuffer.isView(given)) throw new ArgumentError(argument, expected, given);
}

/** Throws {@link ArgumentError} unless `array` is a typed array of floats, which can be cut into rows without a copy. */
function requireFloats(argument: string, array: ArrayLike<number>, layout: string): void {
  const given: unknown = array;
  if (ArrayBuffer.isView(given) && /Float(16|32|64)Array/.test(Object.prototype.toString.call(given))) return;
  throw new ArgumentError(argument, `a Float64Array or Float32Array ${layout}`, given);
}

/**
 * The number of rows of a `[rows, width]` array.
 *
 * @throws ArgumentError if it is not a typed array of floats, or its length is not a multiple of `width`.
 */
export function rowCount(argument: string, array: Float64Array | Float32Array, width: number): number {
  requireFloats(argument, array, `[rows, ${width}]`);
  if (array.length % width !== 0) {
    throw new ArgumentError(argument, `[rows, ${width}] values, a length that is a multiple of ${width}`, array.length);
  }
  return array.length / width;
}

/** Throws {@link ArgumentError} unless `array` has exactly `length` values. */
export function requireLength(argument: string, array: ArrayLike<number>, length: number): void {
  requireArray(argument, array, `an array of ${length} values`);
  if (array.length !== length) {
    throw new ArgumentError(argument, `${length} values`, `${array.length} values`);
  }
}

/** Throws {@link ArgumentError}, naming the layout, unless `array` holds the `expected` number of floats. */
export function requireLayout(
  argument: string,
  array: Float64Array | Float32Array,
  layout: string,
  expected: number,
): void {
  requireFloats(argument, array, layout);
  if (array.length !== expected) {
    throw new ArgumentError(argument, `${layout} = ${expected} numbers`, `${array.length} numbers`);
  }
}

/** Throws {@link ArgumentError} unless `mask` has `length` values, each finite and none negative. */
export function requireMask(argument: string, mask: ArrayLike<number>, length: number): void {
  requireLength(argument, mask, length);
  for (let i = 0; i < length; i++) {
    if (!(mask[i]! >= 0 && mask[i]! < Infinity)) {
      throw new ArgumentError(`${argument}[${i}]`, "a finite number of at least 0", mask[i]);
    }
  }
}

/** Throws {@link ArgumentError} unless `size` is a whole number of at least `least`. */
export function requireSize(argument: string, size: number, least: number): void {
  if (!Number.isSafeInteger(size) || size < least) {
    throw new ArgumentError(argument, `a whole number of at least ${least}`, size);
  }
}

/** Throws {@link ArgumentError} unless `value` is an integer within `[minimum, maximum]`. */
export function requireInteger(argument: string, value: number, minimum: number, maximum: number): void {
  if (!Number.isInteger(value) || value < minimum || value > maximum) {
    throw new ArgumentError(argument, `an integer from ${minimum} to ${maximum}`, value);
  }
}

/** Throws {@link ArgumentError} unless `value` is a finite number greater than zero. */
export function requirePositive(argument: string, value: number): void {
  if (!Number.isFinite(value) || value <= 0) {
    throw new ArgumentError(argument, "a finite number greater than 0", value);
  }
}

/** Throws {@link ArgumentError}, naming the first index, unless every value is finite. */
export function requireFinite(argument: string, array: ArrayLike<number>): void {
  for (let i = 0; i < array.length; i++) {
    if (!Number.isFinite(array[i]!)) throw new ArgumentError(`${argument}[${i}]`, "a finite number", array[i]);
  }
}
