// The float32 block kernels of @favor/core in WebAssembly SIMD. `npm run build` compiles them twice, with and without
// relaxed SIMD, into src/kernels/binaries.ts. What each does is documented on BlockKernels in src/kernels/.

export { cosRows } from "./cosine";
export { matmul, matmulLower, transpose } from "./matmul";
export { expRows } from "./exponential";
export {
  columnMaximum,
  columnSums,
  firstRowAbove,
  lowerRowSums,
  multiply,
  rowDots,
  rowMaximum,
  scaleRows,
  subtractHalfNorms,
} from "./reductions";
