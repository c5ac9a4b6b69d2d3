import type { BlockKernels, Product } from "./block-kernels.ts";

/** Calls visit(offset, row, column) for every number of a block. */
function overBlock(block: number, rows: number, cols: number, visit: (at: number, r: number, c: number) => void): void {
  for (let r = 0, at = block; r < rows; r++) for (let c = 0; c < cols; c++, at++) visit(at, r, c);
}

/**
 * The kernels in plain TypeScript, for engines without WebAssembly SIMD, and as an independent implementation to test
 * against. Sums are held in float64 and rounded when stored.
 */
export function typescriptKernels(): BlockKernels {
  let x = new Float32Array(0);

  /** out (+)= left right. `leftDepth` is the distance between the terms of a row of left. */
  function product(
    { out: c, left: a, right: b, rows, cols, depth, rightRow = cols, outRow = cols, accumulate = false }: Product,
    leftRow: number,
    leftDepth: number,
  ): void {
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < cols; j += 4) {
        let s0 = 0;
        let s1 = 0;
        let s2 = 0;
        let s3 = 0;
        let left = a + i * leftRow;
        let right = b + j;
        for (let k = 0; k < depth; k++) {
          const factor = x[left]!;
          s0 += factor * x[right]!;
          s1 += factor * x[right + 1]!;
          s2 += factor * x[right + 2]!;
          s3 += factor * x[right + 3]!;
          left += leftDepth;
          right += rightRow;
        }
        const out = c + i * outRow + j;
        x[out] = (accumulate ? x[out]! : 0) + s0;
        x[out + 1] = (accumulate ? x[out + 1]! : 0) + s1;
        x[out + 2] = (accumulate ? x[out + 2]! : 0) + s2;
        x[out + 3] = (accumulate ? x[out + 3]! : 0) + s3;
      }
    }
  }

  function addRowSums(
    sums: number,
    rows: number,
    colsOf: (r: number) => number,
    term: (r: number, c: number) => number,
  ): void {
    for (let r = 0; r < rows; r++) {
      let sum = 0;
      const cols = colsOf(r);
      for (let c = 0; c < cols; c++) sum += term(r, c);
      x[sums + r]! += sum;
    }
  }

  return {
    kind: "typescript",
    heap(floats) {
      if (floats > x.length) {
        const larger = new Float32Array(floats);
        larger.set(x);
        x = larger;
      }
      return x;
    },
    matmul: (blocks) => product(blocks, blocks.leftRow, 1),
    matmulTransposed: (blocks) => product(blocks, 1, blocks.leftRow),
    matmulLower({ out, left, right, rows, cols, leftRow, rightRow = cols, outRow = cols }) {
      for (let i = 0; i < rows; i++) {
        const [outAt, leftAt] = [out + i * outRow, left + i * leftRow];
        const row = { out: outAt, left: leftAt, right, rows: 1, cols, depth: i + 1, leftRow, rightRow, outRow };
        product({ ...row, accumulate: true }, leftRow, 1);
      }
    },
    transpose(out, from, rows, cols, outRow, xRow) {
      for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) x[out + c * outRow + r] = x[from + r * xRow + c]!;
    },
    expRows(block, rowShift, columnShift, rows, cols) {
      overBlock(block, rows, cols, (at, r, c) => {
        const power = Math.exp(Math.fround(Math.fround(x[at]! + x[columnShift + c]!) + x[rowShift + r]!));
        x[at] = power < 2 ** -126 ? 0 : power;
      });
    },
    cosRows: (block, columnShift, rows, cols) =>
      overBlock(block, rows, cols, (at, _, c) => {
        x[at] = Math.cos(Math.fround(x[at]! + x[columnShift + c]!));
      }),
    rowMaximum(maximum, block, columnShift, rows, cols) {
      overBlock(block, rows, cols, (at, r, c) => {
        const sum = x[at]! + x[columnShift + c]!;
        if (sum > x[maximum + r]!) x[maximum + r] = sum;
      });
    },
    columnMaximum(maximum, block, rowShift, rows, cols) {
      overBlock(block, rows, cols, (at, r, c) => {
        const sum = x[at]! + x[rowShift + r]!;
        if (sum > x[maximum + c]!) x[maximum + c] = sum;
      });
    },
    firstRowAbove(limit, block, rowShift, rows, cols) {
      for (let r = 0; r < rows; r++) {
        for (let c = 0; c < cols; c++) if (x[block + r * cols + c]! + x[rowShift + r]! > x[limit + c]!) return r;
      }
      return rows;
    },
    columnSums(sums, block, rows, cols) {
      for (let c = 0; c < cols; c++) {
        let sum = 0;
        for (let r = 0; r < rows; r++) sum += x[block + r * cols + c]!;
        x[sums + c]! += sum;
      }
    },
    rowDots: (sums, block, weights, rows, cols) =>
      addRowSums(
        sums,
        rows,
        () => cols,
        (r, c) => x[block + r * cols + c]! * x[weights + c]!,
      ),
    subtractHalfNorms: (sums, block, rows, cols) =>
      addRowSums(
        sums,
        rows,
        () => cols,
        (r, c) => -0.5 * x[block + r * cols + c]! ** 2,
      ),
    lowerRowSums: (sums, block, rows, cols) =>
      addRowSums(
        sums,
        rows,
        (r) => r + 1,
        (r, c) => x[block + r * cols + c]!,
      ),
    scaleRows: (block, factors, rows, cols) =>
      overBlock(block, rows, cols, (at, r) => {
        x[at]! *= x[factors + r]!;
      }),
    multiply(block, y, rows, cols) {
      for (let i = 0; i < rows * cols; i++) x[block + i]! *= x[y + i]!;
    },
  };
}
