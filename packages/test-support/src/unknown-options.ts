/**
 * The paths of all objects among the arguments that a user writes down, such as ["1", "projection"].
 *
 * @param given The list of arguments.
 * @param made What functions made, in which no name can be misspelt.
 */
export function writtenObjects(given: unknown, made: ReadonlySet<unknown>, path: readonly string[] = []): string[][] {
  if (typeof given !== "object" || given === null || made.has(given)) return [];
  const isPlain = Object.getPrototypeOf(given) === Object.prototype;
  const isList = Array.isArray(given) && path.length === 0;
  if (!isPlain && !isList) return [];
  const within = Object.entries(given).flatMap(([name, value]) => writtenObjects(value, made, [...path, name]));
  return isPlain ? [[...path], ...within] : within;
}

/** The same arguments with one more property, `notAnOption`, in the object at a path. */
export function withUnknown(given: unknown, [name, ...rest]: readonly string[]): unknown {
  const copy = Array.isArray(given) ? [...given] : { ...(given as object) };
  if (name === undefined) return { ...copy, notAnOption: 1 };
  return Object.assign(copy, { [name]: withUnknown((given as Record<string, unknown>)[name], rest) });
}

/** What a call throws; undefined if nothing. */
export function errorOf(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  return undefined;
}
