import { padded } from "./rows.ts";

/** Gradients with respect to the arguments of an attention, each in the layout of its argument. */
export interface AttentionGradients32 {
  /** `[heads, queryRows, dim]`. */
  readonly query: Float32Array<ArrayBuffer>;
  /** `[keyHeads, keyRows, dim]`; 0 for a hidden key. */
  readonly key: Float32Array<ArrayBuffer>;
  /** `[keyHeads, keyRows, valueDim]`; 0 for a hidden key. */
  readonly value: Float32Array<ArrayBuffer>;
}

/**
 * Blocks for a tile of rows: unnormalised outputs, their normalisers n, and what the backward pass derives from them.
 */
export interface GradientRowBlocks {
  /** `[rows, padded(valueDim)]`. */
  readonly out: number;
  /** `[rows]`: n, replaced by 1 / n, or by 0 for a row with nothing to attend to. */
  readonly divisor: number;
  /** `[rows, padded(valueDim)]`: G = g / n. */
  readonly upstream: number;
  /** `[rows]`: -G.out / n. */
  readonly inner: number;
}

/**
 * Given the gradient with respect to out / n, computes that with respect to the unnormalised rows [out, n]: [G, inner].
 * `firstRow` counts the rows of the gradient before the tile.
 */
export function differentiateNormaliser(
  heap: Float32Array,
  blocks: GradientRowBlocks,
  gradient: Float32Array,
  firstRow: number,
  rows: number,
  valueDim: number,
): void {
  const { out, divisor, upstream, inner } = blocks;
  const stride = padded(valueDim);
  for (let row = divisor; row < divisor + rows; row++) heap[row] = heap[row] === 0 ? 0 : 1 / heap[row]!;
  loadUpstream(heap, blocks, gradient, firstRow, rows, valueDim);
  for (let row = 0; row < rows; row++) {
    let sum = 0;
    for (let c = row * stride; c < row * stride + valueDim; c++) sum += heap[upstream + c]! * heap[out + c]!;
    heap[inner + row] = -sum * heap[divisor + row]!;
  }
}

/** G = g / n, with `divisor` holding 1 / n already. */
export function loadUpstream(
  heap: Float32Array,
  { divisor, upstream }: Pick<GradientRowBlocks, "divisor" | "upstream">,
  gradient: Float32Array,
  firstRow: number,
  rows: number,
  valueDim: number,
): void {
  const stride = padded(valueDim);
  for (let row = 0; row < rows; row++) {
    const factor = heap[divisor + row]!;
    const source = (firstRow + row) * valueDim;
    const target = upstream + row * stride;
    // a row that sees no key has no gradient, even if its upstream gradient is NaN
    for (let c = 0; c < valueDim; c++) heap[target + c] = factor === 0 ? 0 : gradient[source + c]! * factor;
    heap.fill(0, target + valueDim, target + stride);
  }
}
