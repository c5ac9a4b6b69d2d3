export { counted, grouped, percent, short } from "./counts.ts";
export { percentWithInterval, withInterval } from "./intervals.ts";
export type { Estimate } from "./intervals.ts";
