import type { TrigonometricForm } from "@favor/core";
import type { AttentionSite } from "../attention/site.ts";
import type { LinearFeatures } from "./linear.ts";
import type { NodeBuilder } from "@favor/onnx/graph";
import { standardScales } from "./scales.ts";
import type { SiteInputs } from "./site-inputs.ts";

/**
 * The features of 2006.03555, kept for comparison: phi(x) = D cos(Omega x + b), or the pair of cosine and sine, with
 * D_q = exp(|q|^2/2), which cancels, and D_k = exp(|k|^2/2) divided by its largest value over the keys.
 *
 * @param forms one per head
 */
export function trigonometricFeatures(
  build: NodeBuilder,
  site: AttentionSite,
  inputs: SiteInputs,
  forms: readonly TrigonometricForm[],
): LinearFeatures {
  const { dim, variant } = forms[0]!;
  const rows = forms[0]!.projection.length / dim;
  const heads = forms.length;
  const scales = standardScales(site);
  const projection = (scale: number): Float64Array => stack(forms.map((form) => form.projection.map((w) => w * scale)));
  const queryWeights = transposeLast(projection(scales.query), heads, rows, dim);
  let query = build.op("MatMul", [inputs.query, build.floats("omega_query", [heads, dim, rows], queryWeights)]);
  let key = build.op("MatMul", [
    build.floats("omega_key", [heads, rows, dim], projection(scales.key)),
    inputs.keyColumns,
  ]);
  if (variant === "phase") {
    const phase = stack(forms.map((form) => form.phase!));
    query = build.op("Cos", [build.op("Add", [query, build.floats("phase_query", [heads, 1, rows], phase)])]);
    key = build.op("Cos", [build.op("Add", [key, build.floats("phase_key", [heads, rows, 1], phase)])]);
  } else {
    query = build.concat([build.op("Cos", [query]), build.op("Sin", [query])], 3);
    key = build.concat([build.op("Cos", [key]), build.op("Sin", [key])], 2);
  }
  const squares = build.reduceSum(build.op("Mul", [inputs.keyColumns, inputs.keyColumns]), 2);
  const logWeight = build.op("Mul", [squares, build.scalar(scales.key ** 2 / 2)]);
  const { count } = forms[0]!;
  return { count, query, keyColumns: key, logWeight, value: inputs.value, keep: inputs.keep, positive: false };
}

/** Arrays of equal length, one after another. */
export function stack(arrays: readonly Float64Array[]): Float64Array {
  const length = arrays[0]!.length;
  const stacked = new Float64Array(arrays.length * length);
  arrays.forEach((array, i) => stacked.set(array, i * length));
  return stacked;
}

/** [heads, rows, columns] to [heads, columns, rows]. */
export function transposeLast(values: Float64Array, heads: number, rows: number, columns: number): Float64Array {
  const transposed = new Float64Array(values.length);
  for (let h = 0; h < heads; h++) {
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        transposed[(h * columns + c) * rows + r] = values[(h * rows + r) * columns + c]!;
      }
    }
  }
  return transposed;
}
