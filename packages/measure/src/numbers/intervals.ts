import { percent, short } from "./counts.ts";

/** A measured value and the 95 % interval around it. */
export interface Estimate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** An accuracy with its interval: `89.2 % (88.7 to 89.6)`. */
export function percentWithInterval({ value, low, high }: Estimate): string {
  return `${percent(value)} (${(low * 100).toFixed(1)} to ${(high * 100).toFixed(1)})`;
}

/** A number with its interval: the value with four significant digits, the bounds with as many decimals. */
export function withInterval({ value, low, high }: Estimate): string {
  const size = Math.abs(value);
  if (!Number.isFinite(value) || size < 1e-3 || size >= 1e4) return `${short(value)} (${short(low)} to ${short(high)})`;
  const decimals = Math.max(0, 3 - Math.floor(Math.log10(size)));
  const [middle, from, to] = [value, low, high].map((number) => number.toFixed(decimals));
  return `${middle} (${from} to ${to})`;
}
