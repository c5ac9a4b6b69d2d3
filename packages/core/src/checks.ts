import { ArgumentError } from "./errors.ts";

/** The number of rows of a `[rows, width]` array. Throws {@link ArgumentError} when its length is no multiple. */
export function rowCount(argument: string, array: ArrayLike<number>, width: number): number {
  if (array.length % width !== 0) {
    throw new ArgumentError(argument, `[rows, ${width}] values, a length that is a multiple of ${width}`, array.length);
  }
  return array.length / width;
}

/** Throws {@link ArgumentError} unless `array` has exactly `length` values. */
export function requireLength(argument: string, array: ArrayLike<number>, length: number): void {
  if (array.length !== length) {
    throw new ArgumentError(argument, `${length} values`, `${array.length} values`);
  }
}

/** Throws {@link ArgumentError}, naming the layout, unless `array` holds the `expected` number of values. */
export function requireLayout(argument: string, array: ArrayLike<number>, layout: string, expected: number): void {
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
