import type { Estimate } from "./bootstrap.ts";

/** 0.8921 as `89.2 %`. */
export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** An accuracy with its interval: `89.2 % (88.7 to 89.6)`. */
export function percentWithInterval({ value, low, high }: Estimate): string {
  return `${percent(value)} (${(low * 100).toFixed(1)} to ${(high * 100).toFixed(1)})`;
}

/** A number with its interval, the value with four significant digits and the bounds with as many decimals. */
export function withInterval({ value, low, high }: Estimate): string {
  const size = Math.abs(value);
  if (!Number.isFinite(value) || size < 1e-3 || size >= 1e4) return `${short(value)} (${short(low)} to ${short(high)})`;
  const decimals = Math.max(0, 3 - Math.floor(Math.log10(size)));
  const [middle, from, to] = [value, low, high].map((number) => number.toFixed(decimals));
  return `${middle} (${from} to ${to})`;
}

/** Up to four significant digits, without an exponent for everyday sizes. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  return value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)
    ? value.toExponential(2)
    : String(Number(value.toPrecision(4)));
}

/** `1 sequence`, `200 sequences`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** `3,605,200`. */
export function grouped(count: number): string {
  return count.toLocaleString("en-US");
}
