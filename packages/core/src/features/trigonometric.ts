import { requireLength, rowCount } from "../checks.ts";
import { checkDescription } from "./description.ts";
import { multiply, multiplyTransposed } from "../linear-algebra/products.ts";
import { drawProjection } from "../projections/projection.ts";
import { projectionStream } from "../projections/stream.ts";
import { streamPurpose } from "../random/stream.ts";
import type { TrigonometricDescription } from "./description.ts";
import type { FeatureMap } from "./feature-map.ts";
import { scaleKeys, scaleOfRow } from "./stabilizer.ts";

/**
 * What an emitter of trigonometric features needs.
 *
 *     phase:  phi_m(x) = exp(|x|^2/2) scale cos(w_m.x + b_m)               width count
 *     pair:   phi(x)   = exp(|x|^2/2) scale [cos(w_m.x), sin(w_m.x)]       cosines first, width count = 2 rows
 *
 * For queries exp(|q|^2/2) cancels in the normaliser.
 */
export interface TrigonometricForm {
  readonly dim: number;
  /** The width of phi. */
  readonly count: number;
  readonly variant: "phase" | "pair";
  /** [rows, dim] row-major; rows = count for "phase", count / 2 for "pair". */
  readonly projection: Float64Array;
  /** b, [count], uniform on [0, 2 pi); "phase" only. */
  readonly phase?: Float64Array;
  /** sqrt(2 / M) for "phase", sqrt(1 / M) for "pair", M the rows of the projection. */
  readonly scale: number;
}

/**
 * The form of a trigonometric description.
 *
 * @throws ArgumentError for an invalid description.
 */
export function trigonometricForm(description: TrigonometricDescription): TrigonometricForm {
  checkDescription(description);
  const { variant, projection } = description;
  const rows = projection.count;
  const form = { dim: projection.dim, variant, projection: drawProjection(projection) };
  if (variant === "pair") return { ...form, count: 2 * rows, scale: Math.sqrt(1 / rows) };
  const stream = projectionStream(projection, streamPurpose.phase);
  const phase = new Float64Array(rows);
  for (let m = 0; m < rows; m++) phase[m] = 2 * Math.PI * stream.uniform();
  return { ...form, count: rows, phase, scale: Math.sqrt(2 / rows) };
}

/**
 * The features of 2006.03555: exp(q.k) = D_Q B D_K, with the Gaussian kernel B = exp(-|q - k|^2/2), estimated by random
 * Fourier features, and the renormalisers D_Q = exp(|q|^2/2), D_K = exp(|k|^2/2). Features may be negative: if
 * attention is peaked, the normaliser can come near zero. The stabilised form divides D_K by its largest value.
 */
export function trigonometricFeatureMap(description: TrigonometricDescription): FeatureMap {
  const form = trigonometricForm(description);
  const { dim, count } = form;
  const frequencies = form.projection.length / dim;

  function waves(x: Float64Array): { features: Float64Array; halfNorms: Float64Array } {
    const rows = rowCount("x", x, dim);
    const angles = multiplyTransposed(x, form.projection, rows, dim, frequencies);
    const features = new Float64Array(rows * count);
    for (let row = 0; row < rows; row++) {
      for (let m = 0; m < frequencies; m++) {
        const angle = angles[row * frequencies + m]!;
        const target = row * count + m;
        if (form.phase) {
          features[target] = form.scale * Math.cos(angle + form.phase[m]!);
        } else {
          features[target] = form.scale * Math.cos(angle);
          features[target + frequencies] = form.scale * Math.sin(angle);
        }
      }
    }
    const halfNorms = new Float64Array(rows);
    for (let i = 0; i < x.length; i++) halfNorms[Math.floor(i / dim)]! += 0.5 * x[i]! * x[i]!;
    return { features, halfNorms };
  }

  function renormalized(x: Float64Array): Float64Array {
    const { features, halfNorms } = waves(x);
    return features.map((value, i) => value * Math.exp(halfNorms[Math.floor(i / count)]!));
  }

  /** phi = exp(|x|^2/2 - logScale) wave(w.x), so dx = (sum of upstream phi) x + upstream exp(..) wave'(w.x) w. */
  function backward(x: Float64Array, upstream: Float64Array, logScale?: Float64Array): Float64Array {
    const { features, halfNorms } = waves(x);
    const rows = halfNorms.length;
    requireLength("upstream", upstream, rows * count);
    const angles = multiplyTransposed(x, form.projection, rows, dim, frequencies);
    const slopes = new Float64Array(rows * frequencies);
    const sums = new Float64Array(rows);
    for (let row = 0; row < rows; row++) {
      const factor = Math.exp(halfNorms[row]! - scaleOfRow(logScale, row, rows));
      for (let m = 0; m < frequencies; m++) {
        const at = row * count + m;
        const angle = angles[row * frequencies + m]! + (form.phase?.[m] ?? 0);
        let slope = -upstream[at]! * Math.sin(angle);
        if (!form.phase) slope += upstream[at + frequencies]! * Math.cos(angle);
        slopes[row * frequencies + m] = factor * form.scale * slope;
      }
      for (let m = row * count; m < (row + 1) * count; m++) sums[row]! += factor * upstream[m]! * features[m]!;
    }
    const out = multiply(slopes, form.projection, rows, frequencies, dim);
    for (let i = 0; i < out.length; i++) out[i]! += sums[Math.floor(i / dim)]! * x[i]!;
    return out;
  }

  return {
    description,
    dim,
    count,
    queryBackward: backward,
    keyBackward: backward,
    query: renormalized,
    key: renormalized,
    queryStabilized(x) {
      const { features, halfNorms } = waves(x);
      return { features, logScale: halfNorms };
    },
    keyStabilized(x, options = {}) {
      const { features, halfNorms } = waves(x);
      return scaleKeys(features, halfNorms, count, options);
    },
  };
}
