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
