/**
 * Proves by evaluation that a region computes P = softmax(c S + bias), in any operators. The probabilities must be the
 * row-normalised product of exp(c S) and a weight that does not depend on S. Soft-capping, top-k, talking heads and gates
 * all fail; scales, decomposed softmax, masks before or after, guards against NaN and folded heads all pass.
 */

/** Probabilities of one evaluation: [groups, rows, columns], groups being batch and heads together. */
export type Probabilities = Float64Array;

/** Evaluates the region for given logits [groups, rows, columns] and returns the probabilities in the same layout. */
export type EvaluateRegion = (logits: Float64Array) => Probabilities;

export interface LawShape {
  readonly groups: number;
  readonly queries: number;
  readonly keys: number;
}

export interface SoftmaxLaw {
  /** c: what the region multiplies the logits by. Undefined where no row depends on the logits. */
  readonly scale: number | undefined;
  /** Largest difference between a probability and the law's, over all evaluations. */
  readonly error: number;
  /**
   * exp(bias) of each logit, 1 at the largest of its row: [groups, queries, keys]. NaN in rows that attend to nothing:
   * all zeros, NaN, or the same for all logits, as if a mask hides every key.
   */
  readonly weights: Float64Array;
}

/** So many log ratios give the scale; the law itself is checked on all logits. */
const enoughRatios = 20_000;
/** Logits within +-20 of each other show a soft cap of 50 clearly. */
const amplitudes: readonly number[] = [20, 4];
/**
 * Rows are moved by up to this, which a softmax takes no notice of and a bound on the logits does. exp of the largest
 * logits still fits float32, as does the sum of a thousand: some exporters leave out the maximum.
 */
export const largestOffset = 60;
/** Where there are more logits, one amplitude is enough: rows of all sizes are among them. */
const manyLogits = 1 << 17;
/** Random numbers repeat with this period. It is prime, so that no two rows are equal. */
const randomPeriod = 16_381;

/**
 * The law that the region obeys, or why it obeys none.
 *
 * @param tolerance largest difference of a probability, default 2e-4; more for logits of 16 bits
 * @param offset rows of logits are moved by up to this; 0 for logits of 16 bits, which have too few digits for it
 */
export function softmaxLaw(
  shape: LawShape,
  evaluate: EvaluateRegion,
  random: () => number,
  tolerance: number = 2e-4,
  offset: number = largestOffset,
): SoftmaxLaw | { readonly failure: string } {
  const size = shape.groups * shape.queries * shape.keys;
  const uniform = evaluate(new Float64Array(size));
  const weights = rowWeights(uniform, shape);
  if (typeof weights === "string") return { failure: weights };
  const unit = randomLogits(size, 1, random);
  const atUnit = evaluate(unit);
  const constant = constantRows(weights, uniform, atUnit, shape);
  if (constant.length > 0) forgetConstantRows(constant, weights, uniform, evaluate(ramp(shape)), shape);
  const scale = fitScale(atUnit, unit, weights, shape);
  if (scale === 0) return { failure: "the probabilities do not depend on the logits" };
  let error = 0;
  for (const amplitude of scale === undefined ? [] : amplitudes.slice(0, size > manyLogits ? 1 : 2)) {
    const logits = randomLogits(size, amplitude / Math.abs(scale!), random);
    moveRows(logits, shape.keys, offset / Math.abs(scale!), random);
    error = Math.max(error, largestDifference(evaluate(logits), logits, weights, scale!, shape));
    if (!(error <= tolerance)) {
      return { failure: `the probabilities differ from a softmax of the logits by ${error.toPrecision(2)}` };
    }
  }
  return { scale, error, weights };
}

/** Uniform within +-amplitude. */
function randomLogits(size: number, amplitude: number, random: () => number): Float64Array {
  const logits = new Float64Array(size);
  const drawn = Math.min(size, randomPeriod);
  for (let i = 0; i < drawn; i++) logits[i] = (2 * random() - 1) * amplitude;
  for (let i = drawn; i < size; i += drawn) logits.copyWithin(i, 0, Math.min(drawn, size - i));
  return logits;
}

/** Adds to each row a number within +-`offset`. */
function moveRows(logits: Float64Array, keys: number, offset: number, random: () => number): void {
  if (offset === 0) return;
  for (let at = 0; at < logits.length; at += keys) {
    const move = (2 * random() - 1) * offset;
    for (let k = at; k < at + keys; k++) logits[k]! += move;
  }
}

/** Logits within +-1, all different within a row. */
function ramp({ groups, queries, keys }: LawShape): Float64Array {
  return Float64Array.from({ length: groups * queries * keys }, (_, at) => (2 * (at % keys)) / keys - 1);
}

/** Rows that spread over several keys and stay as they are for other logits. */
function constantRows(
  weights: Float64Array,
  before: Probabilities,
  after: Probabilities,
  { groups, queries, keys }: LawShape,
): number[] {
  const constant: number[] = [];
  for (let row = 0; row < groups * queries; row++) {
    const end = (row + 1) * keys;
    let counting = 0;
    let isConstant = true;
    for (let at = row * keys; isConstant && at < end; at++) {
      if (weights[at]! > 1e-7) counting++;
      isConstant = before[at] === after[at];
    }
    if (isConstant && counting >= 2) constant.push(row);
  }
  return constant;
}

/**
 * Rows that attend to nothing, as their mask hides all, stay as they are for any logits. The two keys that a causal
 * query sees may have drawn logits that float16 does not tell apart; those of a ramp it does.
 */
function forgetConstantRows(
  rows: readonly number[],
  weights: Float64Array,
  before: Probabilities,
  after: Probabilities,
  { keys }: LawShape,
): void {
  for (const row of rows) {
    const [at, end] = [row * keys, (row + 1) * keys];
    const isConstant = before.subarray(at, end).every((probability, k) => probability === after[at + k]);
    if (isConstant) weights.fill(Number.NaN, at, end);
  }
}

/** Weights relative to the largest of each row; a row of zeros or NaN attends to nothing and counts as unknown. */
function rowWeights(probabilities: Probabilities, { groups, queries, keys }: LawShape): Float64Array | string {
  const weights = new Float64Array(probabilities.length);
  for (let row = 0; row < groups * queries; row++) {
    const at = row * keys;
    let sum = 0;
    let largest = 0;
    for (let k = at; k < at + keys; k++) {
      const probability = probabilities[k]!;
      sum += probability;
      if (probability > largest) largest = probability;
    }
    const empty = Number.isNaN(sum) || largest === 0;
    if (!empty && Math.abs(sum - 1) > 2e-2) return "the probabilities of a row do not add up to 1 over the keys";
    for (let k = 0; k < keys; k++) weights[at + k] = empty ? Number.NaN : probabilities[at + k]! / largest;
  }
  return weights;
}

/**
 * c from log ratios within rows: the median, which a few rounded probabilities do not move. Undefined where no row has
 * two keys to compare, 0 where the probabilities take no notice.
 */
function fitScale(
  probabilities: Probabilities,
  logits: Float64Array,
  weights: Float64Array,
  { groups, queries, keys }: LawShape,
): number | undefined {
  const ratios: number[] = [];
  for (let row = 0; row < groups * queries && ratios.length < enoughRatios; row++) {
    const at = row * keys;
    const [base, ...others] = usable(probabilities, weights, at, keys);
    if (base === undefined) continue;
    for (const k of others) {
      const distance = logits[k]! - logits[base]!;
      if (Math.abs(distance) < 0.5) continue;
      const ratio = Math.log(probabilities[k]! / probabilities[base]!) - Math.log(weights[k]! / weights[base]!);
      ratios.push(ratio / distance);
    }
  }
  ratios.sort((a, b) => a - b);
  const median = ratios[ratios.length >> 1];
  return median !== undefined && Math.abs(median) < 1e-6 ? 0 : median;
}

function usable(probabilities: Probabilities, weights: Float64Array, at: number, keys: number): number[] {
  const found: number[] = [];
  for (let k = at; k < at + keys; k++) if (probabilities[k]! > 1e-7 && weights[k]! > 1e-7) found.push(k);
  return found;
}

function largestDifference(
  probabilities: Probabilities,
  logits: Float64Array,
  weights: Float64Array,
  scale: number,
  { groups, queries, keys }: LawShape,
): number {
  let worst = 0;
  for (let row = 0; row < groups * queries; row++) {
    const at = row * keys;
    if (Number.isNaN(weights[at]!)) continue;
    let largest = -Infinity;
    for (let k = at; k < at + keys; k++) if (weights[k]! > 0) largest = Math.max(largest, scale * logits[k]!);
    let sum = 0;
    for (let k = at; k < at + keys; k++) sum += weights[k]! * Math.exp(scale * logits[k]! - largest);
    for (let k = at; k < at + keys; k++) {
      const expected = (weights[k]! * Math.exp(scale * logits[k]! - largest)) / sum;
      const difference = Math.abs(probabilities[k]! - expected);
      worst = Number.isNaN(difference) ? Infinity : Math.max(worst, difference);
    }
  }
  return worst;
}
