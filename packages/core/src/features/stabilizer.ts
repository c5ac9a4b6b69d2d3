import { requireLength } from "../checks.ts";
import type { KeyStabilizerOptions, StabilizedFeatures } from "./feature-map.ts";
import { requireOptions } from "../options.ts";
import type { OptionNames } from "../options.ts";

const names: OptionNames<KeyStabilizerOptions> = { scope: true, mask: true };

/** Exponentials of log features `[rows, count]`, each row divided by its largest. */
export function exponentialPerRow(logFeatures: Float64Array, rows: number, count: number): StabilizedFeatures {
  const features = new Float64Array(rows * count);
  const logScale = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    const scale = largest(logFeatures, row * count, count);
    logScale[row] = scale;
    for (let i = row * count; i < (row + 1) * count; i++) features[i] = Math.exp(logFeatures[i]! - scale);
  }
  return { features, logScale };
}

/** Exponentials of log features `[rows, count]` of keys, stabilised as {@link KeyStabilizerOptions} says. */
export function exponentialOfKeys(
  logFeatures: Float64Array,
  rows: number,
  count: number,
  options: KeyStabilizerOptions,
): StabilizedFeatures {
  const { features, logScale } = exponentialPerRow(logFeatures, rows, count);
  return scaleKeys(features, logScale, count, options);
}

/**
 * Multiplies each row of signed features `[rows, count]` by exp(log[row]), as {@link KeyStabilizerOptions} says.
 * Trigonometric maps need this, since their magnitude is exp(|x|^2/2).
 */
export function scaleKeys(
  features: Float64Array,
  log: Float64Array,
  count: number,
  options: KeyStabilizerOptions,
): StabilizedFeatures {
  requireOptions("options", options, names);
  const { scope = "all", mask } = options;
  const rows = log.length;
  if (mask !== undefined) requireLength("mask", mask, rows);
  if (scope === "row") return hideRows({ features, logScale: log }, mask, count, scope);
  let scale = -Infinity;
  for (let row = 0; row < rows; row++) {
    if (mask?.[row] !== 0 && log[row]! > scale && log[row] !== Infinity) scale = log[row]!;
  }
  if (scale === -Infinity) scale = 0;
  for (let row = 0; row < rows; row++) {
    const factor = Math.exp(log[row]! - scale);
    for (let i = row * count; i < (row + 1) * count; i++) features[i]! *= factor;
  }
  return hideRows({ features, logScale: Float64Array.of(scale) }, mask, count, scope);
}

/** Zeroes the features of hidden rows; a log scale per row becomes -Infinity there. */
function hideRows(
  { features, logScale }: StabilizedFeatures,
  mask: ArrayLike<number> | undefined,
  count: number,
  scope: "all" | "row",
): StabilizedFeatures {
  if (mask === undefined) return { features, logScale };
  for (let row = 0; row < mask.length; row++) {
    if (mask[row] !== 0) continue;
    features.fill(0, row * count, (row + 1) * count);
    if (scope === "row") logScale[row] = -Infinity;
  }
  return { features, logScale };
}

/**
 * The largest finite value, or 0 if there is none: exp(x - largest) must not be NaN for x = -Infinity. NaN and infinity go
 * through to the features without spoiling other rows.
 */
function largest(values: Float64Array, start: number, count: number): number {
  let found = -Infinity;
  for (let i = start; i < start + count; i++) {
    if (values[i]! > found && values[i] !== Infinity) found = values[i]!;
  }
  return found === -Infinity ? 0 : found;
}

/**
 * The log scale of one row: 0 if none is given, the one number for all, or that of the row. The -Infinity of a hidden
 * row becomes +Infinity, so that exp(log - scale) is the 0 that the row has in the features.
 */
export function scaleOfRow(logScale: Float64Array | undefined, row: number, rows: number): number {
  if (logScale === undefined) return 0;
  if (logScale.length !== 1) requireLength("logScale", logScale, rows);
  const scale = logScale[logScale.length === 1 ? 0 : row]!;
  return scale === -Infinity ? Infinity : scale;
}
