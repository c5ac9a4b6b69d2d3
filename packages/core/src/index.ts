export { ArgumentError, FavorError } from "./errors.ts";
export type { FavorErrorOptions } from "./errors.ts";
