import { axisView } from "@favor/onnx/evaluate";
import { DataType } from "@favor/onnx";
import type { Tensor } from "@favor/onnx/evaluate";

/** Bases of the geometric series of frequencies, as models with computed positions use them. */
const bases = [10_000, 500_000, 1_000_000, 160_000];

/** Exponents of the base for column `j` of `d`: w = base^-exponent. */
const layouts: readonly ((j: number, d: number) => number)[] = [
  // Vaswani et al. 2017, section 3.5: sine and cosine alternate.
  (j, d) => (2 * Math.floor(j / 2)) / d,
  // All sines, then all cosines (Marian, RoFormer); also rotary caches of full width.
  (j, d) => (2 * (j % Math.ceil(d / 2))) / d,
  // tensor2tensor and fairseq: the slowest frequency is exactly 1 / base.
  (j, d) => (j % Math.floor(d / 2)) / (Math.floor(d / 2) - 1),
  // Rotary caches of half width.
  (j, d) => j / d,
];

/** The value of a sinusoidal table in column `column` at row `row`. */
export type SinusoidalLaw = (row: number, column: number) => number;

/**
 * The law of a table whose columns are sin(w p) or cos(w p) of the position p, with w from a geometric series:
 * Vaswani et al. 2017, section 3.5, and its variants. Such a table is not learned and continues exactly.
 *
 * @param table of floats, row-major, rows along `axis` and columns after it
 * @param offset the row of the first position; rows before it are not looked at
 * @returns undefined if the table follows no such law to rounding
 */
export function sinusoidalLaw(table: Tensor, axis: number, offset: number): SinusoidalLaw | undefined {
  const { outer, length, inner } = axisView(table.dims, axis);
  // Fewer rows than four could be met by chance.
  if (outer !== 1 || length - offset < 4 || inner < 2) return undefined;
  const tolerance = table.dataType === DataType.FLOAT || table.dataType === DataType.DOUBLE ? 1e-4 : 1e-2;
  for (const first of new Set([0, offset])) {
    for (const base of bases) {
      for (const layout of layouts) {
        const waves = Array.from({ length: inner }, (_, column) => {
          const frequency = base ** -layout(column, inner);
          return [Math.sin, Math.cos].find((wave) => {
            for (let row = offset; row < length; row++) {
              const value = table.data[row * inner + column]!;
              if (!(Math.abs(value - wave((row - first) * frequency)) <= tolerance)) return false;
            }
            return true;
          });
        });
        if (waves.includes(undefined)) continue;
        return (row, column) => waves[column]!((row - first) * base ** -layout(column, inner));
      }
    }
  }
  return undefined;
}
