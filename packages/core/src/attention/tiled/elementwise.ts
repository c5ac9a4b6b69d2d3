import { elementwiseFunctions, eluPlusOne } from "../../features/elementwise.ts";
import type { FeatureMap32 } from "./features.ts";
import { padded } from "./rows.ts";

type Elementwise32 = NonNullable<FeatureMap32["elementwise"]>;

/**
 * x[r, m] = exp(logMask[r]) (f(x[r, m]) + epsilon) over a block `[rows, padded(count)]` at `block`; the columns that only
 * fill it up become 0.
 */
export function applyElementwise(
  { function: name, epsilon }: Elementwise32,
  heap: Float32Array,
  block: number,
  logMask: number,
  rows: number,
  count: number,
): void {
  const f = name === "elu-plus-one" ? eluPlusOne : elementwiseFunctions[name].value;
  const width = padded(count);
  for (let row = 0; row < rows; row++) {
    const mask = Math.exp(heap[logMask + row]!);
    const start = block + row * width;
    for (let at = start; at < start + count; at++) heap[at] = mask * (f(heap[at]!) + epsilon);
    heap.fill(0, start + count, start + width);
  }
}

/** x[r, m] = exp(logMask[r]) f'(x[r, m]) over a block as in {@link applyElementwise}. */
export function elementwiseSlopes(
  { function: name }: Elementwise32,
  heap: Float32Array,
  block: number,
  logMask: number,
  rows: number,
  count: number,
): void {
  const slope =
    name === "elu-plus-one" ? (x: number) => (x > 0 ? 1 : Math.exp(x)) : elementwiseFunctions[name].derivative;
  const width = padded(count);
  for (let row = 0; row < rows; row++) {
    const mask = Math.exp(heap[logMask + row]!);
    const start = block + row * width;
    for (let at = start; at < start + count; at++) heap[at] = mask * slope(heap[at]!);
    heap.fill(0, start + count, start + width);
  }
}
