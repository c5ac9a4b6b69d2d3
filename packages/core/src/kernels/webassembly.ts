import { FavorError } from "../errors.ts";
import { relaxedSimdBinary, simdBinary } from "./binaries.ts";
import type { BlockKernels, Product } from "./block-kernels.ts";

// The few parts of the platform's WebAssembly and base64 interfaces that we use: core's types assume neither a browser
// nor Node.
interface Memory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}
interface Engine {
  readonly validate: (bytes: Uint8Array<ArrayBuffer>) => boolean;
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  readonly Instance: new (module: object) => { readonly exports: Record<string, unknown> };
}

/** The module's functions. They take addresses in bytes, counts, and strides in bytes; see assembly/. */
type Exports = Readonly<Record<Exclude<keyof BlockKernels, "kind" | "heap" | "matmulTransposed">, Block>> & {
  readonly memory: Memory;
};
type Block = (...args: (number | boolean)[]) => number;

// Read by name, because the types of a program that includes a browser's or Node's would contradict ours.
const engine: Engine | undefined = Reflect.get(globalThis, "WebAssembly");
const atob: ((base64: string) => string) | undefined = Reflect.get(globalThis, "atob");
const PAGE = 65_536;
/** Address 0 stays unused, as in C. */
const BASE = 1024;

function decode(base64: string): Uint8Array<ArrayBuffer> {
  if (!atob) throw unavailable("this JavaScript engine has no atob");
  return Uint8Array.from(atob(base64), (character) => character.codePointAt(0)!);
}

function unavailable(reason: string, cause?: unknown): FavorError<"simd-unavailable"> {
  return new FavorError(
    `WebAssembly SIMD kernels cannot run here: ${reason}. Use createKernels({ simd: "auto" }) or "off" for plain TypeScript.`,
    { code: "simd-unavailable", cause },
  );
}

/** Whether the engine runs WebAssembly SIMD, or its relaxed instructions. */
export function supportsSimd(kind: "simd" | "relaxed-simd"): boolean {
  if (!engine || !atob) return false;
  return engine.validate(decode(kind === "simd" ? simdBinary : relaxedSimdBinary));
}

/**
 * The kernels in WebAssembly, as a new instance with its own memory.
 *
 * @throws FavorError `simd-unavailable` if the engine cannot compile them or its security policy forbids it;
 * `out-of-memory` from `heap` if the memory cannot grow.
 */
export function webAssemblyKernels(kind: "simd" | "relaxed-simd"): BlockKernels {
  if (!engine) throw unavailable("this JavaScript engine has no WebAssembly");
  let exports: Exports;
  try {
    const module = new engine.Module(decode(kind === "simd" ? simdBinary : relaxedSimdBinary));
    exports = new engine.Instance(module).exports as Exports;
  } catch (error) {
    if (FavorError.isInstance(error)) throw error;
    throw unavailable(`the ${kind} module was refused (${String(error)})`, error);
  }
  return fromExports(kind, exports);
}

/** The address of an offset into the heap. */
function at(offset: number): number {
  return BASE + offset * 4;
}

function fromExports(kind: "simd" | "relaxed-simd", exports: Exports): BlockKernels {
  let view = new Float32Array(0);

  /** Strides of the left matrix in bytes, of its rows and of the terms in a row. */
  function multiply(product: Product, leftRow: number, leftDepth: number): void {
    const { out, left, right, rows, cols, depth, rightRow = cols, outRow = cols, accumulate = false } = product;
    const [c, a, b] = [at(out), at(left), at(right)];
    exports.matmul(c, a, b, rows, cols, depth, leftRow, leftDepth, rightRow * 4, outRow * 4, accumulate);
  }

  return {
    kind,
    heap(floats) {
      const missing = Math.ceil((at(floats) - exports.memory.buffer.byteLength) / PAGE);
      if (missing > 0) grow(exports.memory, missing);
      if (view.buffer !== exports.memory.buffer) view = new Float32Array(exports.memory.buffer, BASE);
      return view;
    },
    matmul: (product) => multiply(product, product.leftRow * 4, 4),
    matmulTransposed: (product) => multiply(product, 4, product.leftRow * 4),
    matmulLower: ({ out, left, right, rows, cols, leftRow, rightRow = cols, outRow = cols }) =>
      void exports.matmulLower(at(out), at(left), at(right), rows, cols, leftRow * 4, rightRow * 4, outRow * 4),
    transpose: (out, x, rows, cols, outRow, xRow) =>
      void exports.transpose(at(out), at(x), rows, cols, outRow * 4, xRow * 4),
    expRows: (x, rowShift, columnShift, rows, cols) =>
      void exports.expRows(at(x), at(rowShift), at(columnShift), rows, cols),
    cosRows: (x, columnShift, rows, cols) => void exports.cosRows(at(x), at(columnShift), rows, cols),
    rowMaximum: (maximum, x, columnShift, rows, cols) =>
      void exports.rowMaximum(at(maximum), at(x), at(columnShift), rows, cols),
    columnMaximum: (maximum, x, rowShift, rows, cols) =>
      void exports.columnMaximum(at(maximum), at(x), at(rowShift), rows, cols),
    firstRowAbove: (limit, x, rowShift, rows, cols) =>
      exports.firstRowAbove(at(limit), at(x), at(rowShift), rows, cols),
    columnSums: (sums, x, rows, cols) => void exports.columnSums(at(sums), at(x), rows, cols),
    rowDots: (sums, x, weights, rows, cols) => void exports.rowDots(at(sums), at(x), at(weights), rows, cols),
    subtractHalfNorms: (sums, x, rows, cols) => void exports.subtractHalfNorms(at(sums), at(x), rows, cols),
    lowerRowSums: (sums, x, rows, cols) => void exports.lowerRowSums(at(sums), at(x), rows, cols),
    scaleRows: (x, factors, rows, cols) => void exports.scaleRows(at(x), at(factors), rows, cols),
    multiply: (x, y, rows, cols) => void exports.multiply(at(x), at(y), rows, cols),
  };
}

function grow(memory: Memory, pages: number): void {
  try {
    memory.grow(pages);
  } catch (error) {
    const held = memory.buffer.byteLength / 2 ** 20;
    throw new FavorError(
      `The kernels' memory cannot grow by ${Math.ceil((pages * PAGE) / 2 ** 20)} MiB beyond its ${held} MiB. Shorten the sequence, or free memory.`,
      { code: "out-of-memory", cause: error },
    );
  }
}
