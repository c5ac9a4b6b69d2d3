class Unknown extends Error {}

/** One for all: nobody reads where it was thrown, and stack traces take time. */
const unknown = new Unknown("It does not follow from what is known.");

/** Ends the nearest {@link ifKnown} with undefined. */
export function giveUp(): never {
  throw unknown;
}

/** What `find` returns; undefined if it gives up. */
export function ifKnown<T>(find: () => T): T | undefined {
  try {
    return find();
  } catch (error) {
    if (error instanceof Unknown) return undefined;
    throw error;
  }
}
