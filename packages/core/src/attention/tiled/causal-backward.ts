import type { HeadInputs } from "./head-inputs.ts";
import { attendWithinPiece, joinFeatures, transposeFeatures } from "./causal.ts";
import type { FavorGradients } from "./gradients.ts";
import { TILE } from "./rows.ts";

/** Consecutive rows that are held relative to the same maxima, `[count]`. */
interface Piece {
  readonly start: number;
  readonly end: number;
  readonly maximum: Float32Array;
}

/** 1 / n and h of every query row of a group, `[group, rows]`. */
interface RowStatistics {
  readonly divisor: Float32Array;
  readonly inner: Float32Array;
}

/**
 * Runs the steps in causal order for one key head: forwards through the prefix sums for d phi_q, then backwards with
 * the suffix sums R, r for d phi_k and d v (2009.14794, appendix B.1).
 *
 * The maxima never fall along the sequence, so going back, R is only ever multiplied by exp(earlier - later) <= 1.
 */
export function differentiateCausally(steps: FavorGradients, inputs: HeadInputs, gradient: Float32Array): void {
  const { queryRows, group } = steps.workspace.attention;
  const statistics = { divisor: new Float32Array(group * queryRows), inner: new Float32Array(group * queryRows) };
  const pieces = sweepQueries(steps, inputs, gradient, statistics);
  sweepKeys(steps, inputs, gradient, statistics, pieces);
}

/** d phi_q(q_i) = S_i G_i + z_i h_i, and where the sequence was cut. */
function sweepQueries(
  steps: FavorGradients,
  inputs: HeadInputs,
  gradient: Float32Array,
  { divisor, inner }: RowStatistics,
): Piece[] {
  const { query, keyHead, hasCore } = inputs;
  const { workspace } = steps;
  const { kernels, heap, at, attention, count, countWidth, valueWidth } = workspace;
  const { queryRows: rows, group } = attention;
  const pieces: Piece[] = [];
  for (let start = 0; start < rows; start += TILE) {
    const chunk = Math.min(TILE, rows - start);
    workspace.loadKeys(inputs, undefined, start, start + chunk);
    for (let first = 0; first < chunk;) {
      workspace.raiseMaximum(first, 1);
      const end = workspace.endOfPiece(first, chunk);
      workspace.finishKeys(first, end - first);
      const features = hasCore ? joinFeatures(workspace, first, end) : at.keyFeatures;
      transposeFeatures(workspace, features, first, end);
      steps.transposeSums(at.sums);
      const values = at.values + first * valueWidth;
      kernels.transpose(steps.at.valuesTransposed, values, end - first, valueWidth, TILE, valueWidth);
      const [from, to] = [start + first, start + end];
      for (let head = keyHead * group; head < (keyHead + 1) * group; head++) {
        steps.makeQueries(query, head, from, to);
        workspace.attendToSums(to - from, at.sums, at.normaliser);
        attendWithinPiece(workspace, first, end);
        steps.differentiateRows(gradient, head, from, to);
        const row = (head - keyHead * group) * rows + from;
        divisor.set(heap.subarray(at.divisor, at.divisor + to - from), row);
        inner.set(heap.subarray(steps.at.inner, steps.at.inner + to - from), row);
        steps.differentiateQueries(to - from, at.normaliser);
        scoreGradient(steps, to - from);
        const { featureGradient, scoreGradient: scores } = steps.at;
        const block = features + first * countWidth;
        kernels.matmulLower({
          out: featureGradient,
          left: scores,
          right: block,
          rows: to - from,
          cols: countWidth,
          leftRow: TILE,
        });
        steps.storeQueries(head, from, to);
      }
      workspace.addToSums(features, first, end - first);
      pieces.push({
        start: from,
        end: to,
        maximum: keptMaximum(heap.subarray(at.maximum, at.maximum + count), pieces),
      });
      first = end;
    }
  }
  return pieces;
}

/** The maxima; the array of the piece before if they are the same, since they seldom change along a sequence. */
function keptMaximum(maximum: Float32Array, pieces: readonly Piece[]): Float32Array {
  const before = pieces.at(-1)?.maximum;
  return before?.every((x, m) => x === maximum[m]) ? before : maximum.slice();
}

/** d phi_k and d v from the suffix sums, piece by piece from the last. */
function sweepKeys(
  steps: FavorGradients,
  inputs: HeadInputs,
  gradient: Float32Array,
  { divisor, inner }: RowStatistics,
  pieces: readonly Piece[],
): void {
  const { query, keyHead, hasCore } = inputs;
  const { workspace } = steps;
  const { kernels, heap, at, attention, countWidth, valueWidth } = workspace;
  const { featureGradient, valueGradient, upstream, scoreGradient: scoreGradients } = steps.at;
  const { queryRows, group } = attention;
  let later = pieces.at(-1)?.maximum;
  for (const { start, end, maximum } of pieces.toReversed()) {
    const rows = end - start;
    if (maximum !== later) lowerMaximum(steps, maximum, later!);
    later = maximum;
    heap.set(maximum, at.maximum);
    workspace.shiftByMaximum();
    workspace.loadKeys(inputs, undefined, start, end);
    steps.makeKeys(rows);
    const features = hasCore ? joinFeatures(workspace, 0, rows) : at.keyFeatures;
    transposeFeatures(workspace, features, 0, rows);
    kernels.transpose(steps.at.valuesTransposed, at.values, rows, valueWidth, TILE, valueWidth);
    steps.transposeSums(steps.at.sums);
    steps.differentiateKeys(rows, at.values, steps.at.normaliser);
    steps.differentiateValues(features, rows, steps.at.sums);
    for (let head = keyHead * group; head < (keyHead + 1) * group; head++) {
      workspace.loadQueries(query, head, start, end);
      workspace.finishQueries(rows);
      const row = (head - keyHead * group) * queryRows + start;
      heap.set(divisor.subarray(row, row + rows), at.divisor);
      heap.set(inner.subarray(row, row + rows), steps.at.inner);
      steps.loadRows(gradient, head, start, end);
      const { queryFeatures, keyFeaturesTransposed, scores } = at;
      const cols = Math.ceil(rows / 8) * 8;
      kernels.matmul({
        out: scores,
        left: queryFeatures,
        right: keyFeaturesTransposed,
        rows,
        cols,
        depth: countWidth,
        leftRow: countWidth,
        rightRow: TILE,
        outRow: TILE,
      });
      hideLater(heap, scores, rows);
      kernels.matmulTransposed({
        out: valueGradient,
        left: scores,
        right: upstream,
        rows,
        cols: valueWidth,
        depth: rows,
        leftRow: TILE,
        accumulate: true,
      });
      scoreGradient(steps, rows);
      hideLater(heap, scoreGradients, rows);
      kernels.matmulTransposed({
        out: featureGradient,
        left: scoreGradients,
        right: queryFeatures,
        rows,
        cols: countWidth,
        depth: rows,
        leftRow: TILE,
        accumulate: true,
      });
      steps.addToSums(rows);
    }
    if (hasCore) differentiateCore(steps, rows);
    steps.storeKeys(keyHead, undefined, start, end);
  }
}

/** G V^T + h 1^T of a piece: the gradient with respect to phi(q_i).phi(k_j). */
function scoreGradient({ workspace, at }: FavorGradients, rows: number): void {
  const { kernels, attention, valueWidth } = workspace;
  const cols = Math.ceil(rows / 8) * 8;
  const { scoreGradient: scores, upstream, valuesTransposed, inner, ones } = at;
  kernels.matmul({
    out: scores,
    left: upstream,
    right: valuesTransposed,
    rows,
    cols,
    depth: attention.valueDim,
    leftRow: valueWidth,
    rightRow: TILE,
    outRow: TILE,
  });
  kernels.matmul({
    out: scores,
    left: inner,
    right: ones,
    rows,
    cols,
    depth: 1,
    leftRow: 1,
    rightRow: TILE,
    outRow: TILE,
    accumulate: true,
  });
}

/** Clears the columns after i in row i of a block `[rows, TILE]`. */
function hideLater(heap: Float32Array, block: number, rows: number): void {
  for (let row = 0; row < rows; row++) heap.fill(0, block + row * TILE + row + 1, block + (row + 1) * TILE);
}

/** Rescales R and r from later maxima to earlier ones. */
function lowerMaximum({ workspace, at }: FavorGradients, earlier: Float32Array, later: Float32Array): void {
  const { kernels, heap, at: blocks, count, countWidth, valueWidth } = workspace;
  heap.fill(1, blocks.factors, blocks.factors + countWidth);
  for (let m = 0; m < count; m++) {
    const factor = Math.exp(earlier[m]! - later[m]!);
    heap[blocks.factors + m] = factor;
    heap[at.normaliser + m]! *= factor;
  }
  kernels.scaleRows(at.sums, blocks.factors, countWidth, valueWidth);
}

/** d phi(k) = d(C phi(k)) C, row by row. */
export function differentiateCore({ workspace, at }: FavorGradients, rows: number): void {
  const { kernels, heap, countWidth: count } = workspace;
  kernels.matmul({
    out: at.products,
    left: at.featureGradient,
    right: at.core,
    rows,
    cols: count,
    depth: count,
    leftRow: count,
  });
  heap.copyWithin(at.featureGradient, at.products, at.products + rows * count);
}
