/** 0.8921 as `89.2 %`. */
export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** At most four significant digits; only very small and very large numbers get an exponent. */
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
