import { ArgumentError } from "../errors.ts";

/** Which implementation runs: WebAssembly with fused multiply-add, WebAssembly SIMD, or plain TypeScript. */
export type KernelKind = "relaxed-simd" | "simd" | "typescript";

/** The blocks of a matrix product, `out` `[rows, cols]`, and the strides of their rows. */
export interface Product {
  readonly out: number;
  readonly left: number;
  readonly right: number;
  readonly rows: number;
  readonly cols: number;
  /** How many terms each sum has. */
  readonly depth: number;
  readonly leftRow: number;
  /** Default `cols`. */
  readonly rightRow?: number;
  /** Default `cols`. */
  readonly outRow?: number;
  /** Adds to what `out` holds. Default false: `out` is overwritten. */
  readonly accumulate?: boolean;
}

/**
 * Float32 products, exponentials and reductions over blocks that fit a processor's cache; the tiled attentions are
 * built from them. There are three implementations ({@link KernelKind}), equal up to rounding.
 *
 * Arguments named like arrays are offsets into `heap`, in numbers, and multiples of 4. A block `[rows, cols]` is
 * row-major. Products take row strides in numbers ("...Row"); all other blocks have no gaps. `cols` is always a
 * multiple of 8 (pad with zeros); the number of rows is free. The functions trust their arguments: offsets outside the
 * heap trap (WebAssembly) or are ignored (TypeScript). Maxima ignore NaN; everything else passes it on.
 */
export interface BlockKernels {
  readonly kind: KernelKind;
  /**
   * The workspace, of at least `floats` numbers. It keeps its contents between calls. A later call that needs more room
   * invalidates arrays returned before.
   */
  heap(floats: number): Float32Array;
  /** out = left right, or out += left right if `accumulate`: left `[rows, depth]`, right `[depth, cols]`. */
  matmul(product: Product): void;
  /** out = left^T right, or out += left^T right: left `[depth, rows]`, right `[depth, cols]`. */
  matmulTransposed(product: Product): void;
  /**
   * out += tril(left) right, left `[rows, rows]`. Row i depends only on rows 0..i of right, bit for bit, even for NaN.
   */
  matmulLower(product: Omit<Product, "depth" | "accumulate">): void;
  /** out `[cols, rows]` = x^T, x `[rows, cols]`; rows is rounded up to a multiple of 4. */
  transpose(out: number, x: number, rows: number, cols: number, outRow: number, xRow: number): void;
  /**
   * x[r, c] = exp(x[r, c] + rowShift[r] + columnShift[c]): within 2 units in the last place of exp; 0 where the result
   * is less than 2^-126; exp(-Infinity) = 0; NaN stays.
   */
  expRows(x: number, rowShift: number, columnShift: number, rows: number, cols: number): void;
  /**
   * x[r, c] = cos(x[r, c] + columnShift[c]), the sum rounded to float32. The absolute error is at most 3e-7 while the
   * size of the sum is at most 8192; beyond that, the result is some number within [-1, 1]. NaN and Infinity give NaN.
   */
  cosRows(x: number, columnShift: number, rows: number, cols: number): void;
  /** maximum[r] = max(maximum[r], max_c x[r, c] + columnShift[c]). */
  rowMaximum(maximum: number, x: number, columnShift: number, rows: number, cols: number): void;
  /** maximum[c] = max(maximum[c], max_r x[r, c] + rowShift[r]). */
  columnMaximum(maximum: number, x: number, rowShift: number, rows: number, cols: number): void;
  /** The first row where some x[r, c] + rowShift[r] > limit[c]; `rows` if none. */
  firstRowAbove(limit: number, x: number, rowShift: number, rows: number, cols: number): number;
  /** sums[c] += sum_r x[r, c]. */
  columnSums(sums: number, x: number, rows: number, cols: number): void;
  /** sums[r] += sum_c x[r, c] weights[c]. */
  rowDots(sums: number, x: number, weights: number, rows: number, cols: number): void;
  /** sums[r] -= |x[r]|^2 / 2. */
  subtractHalfNorms(sums: number, x: number, rows: number, cols: number): void;
  /** sums[r] += sum_{c <= r} x[r, c]. */
  lowerRowSums(sums: number, x: number, rows: number, cols: number): void;
  /** x[r, c] *= factors[r]. */
  scaleRows(x: number, factors: number, rows: number, cols: number): void;
  /** x[r, c] *= y[r, c]. */
  multiply(x: number, y: number, rows: number, cols: number): void;
}

/** @throws ArgumentError unless `kernels` are block kernels: plain JavaScript may leave them out. */
export function requireKernels(kernels: BlockKernels): void {
  const given: unknown = kernels;
  if (typeof given === "object" && given !== null && "heap" in given) return;
  throw new ArgumentError("kernels", "block kernels, as createKernels makes them", given);
}
