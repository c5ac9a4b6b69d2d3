import type { HeadInputs } from "./head-inputs.ts";
import { TILE } from "./rows.ts";
import type { FavorWorkspace } from "./workspace.ts";

/** Rows of a chunk whose scores are computed together; columns to their right are skipped. */
const SCORE_ROWS = 16;

/**
 * Runs the steps in causal order for one key head: chunk by chunk, each row attends to the prefix sums and to the rows
 * of its chunk up to itself.
 *
 * The maxima that keys are held relative to must not look ahead. So a chunk is cut at a key that exceeds the maximum so
 * far by more than `HEADROOM`, and within a piece only the first key raises the maximum. What a row is scaled by then
 * depends on no later row. In practice only the first keys of a sequence cut.
 */
export function attendCausally(workspace: FavorWorkspace, inputs: HeadInputs, out: Float32Array): void {
  const { query, keyHead, hasCore } = inputs;
  const { at, attention } = workspace;
  const { queryRows: rows, group } = attention;
  for (let start = 0; start < rows; start += TILE) {
    const chunk = Math.min(TILE, rows - start);
    workspace.loadKeys(inputs, undefined, start, start + chunk);
    for (let first = 0; first < chunk;) {
      workspace.raiseMaximum(first, 1);
      const end = workspace.endOfPiece(first, chunk);
      workspace.finishKeys(first, end - first);
      const features = hasCore ? joinFeatures(workspace, first, end) : at.keyFeatures;
      transposeFeatures(workspace, features, first, end);
      for (let head = keyHead * group; head < (keyHead + 1) * group; head++) {
        workspace.loadQueries(query, head, start + first, start + end);
        workspace.finishQueries(end - first);
        workspace.attendToSums(end - first, at.sums, at.normaliser);
        attendWithinPiece(workspace, first, end);
        workspace.store(out, head, start + first, start + end);
      }
      workspace.addToSums(features, first, end - first);
      first = end;
    }
  }
}

/** Applies the core to the key features, C phi(k), row by row. */
export function joinFeatures({ kernels, at, countWidth: count }: FavorWorkspace, first: number, end: number): number {
  const offset = first * count;
  const from = at.keyFeatures + offset;
  kernels.matmul({
    out: at.joinedFeatures + offset,
    left: from,
    right: at.core,
    rows: end - first,
    cols: count,
    depth: count,
    leftRow: count,
  });
  return at.joinedFeatures;
}

/** `keyFeaturesTransposed` = the transpose of rows first..end of the features in a block. */
export function transposeFeatures(
  { kernels, at, countWidth }: FavorWorkspace,
  features: number,
  first: number,
  end: number,
): void {
  kernels.transpose(at.keyFeaturesTransposed, features + first * countWidth, end - first, countWidth, TILE, countWidth);
}

/** out += tril(phi(Q) phi(K)^T) V and divisor += its row sums, over the rows first..end of the chunk. */
export function attendWithinPiece(workspace: FavorWorkspace, first: number, end: number): void {
  const { kernels, at, countWidth, valueWidth } = workspace;
  const rows = end - first;
  for (let top = 0; top < rows; top += SCORE_ROWS) {
    const size = Math.min(SCORE_ROWS, rows - top);
    const cols = Math.min(TILE, Math.ceil((top + size) / 8) * 8);
    const queries = at.queryFeatures + top * countWidth;
    const scores = at.scores + top * TILE;
    kernels.matmul({
      out: scores,
      left: queries,
      right: at.keyFeaturesTransposed,
      rows: size,
      cols,
      depth: countWidth,
      leftRow: countWidth,
      rightRow: TILE,
      outRow: TILE,
    });
  }
  const values = at.values + first * valueWidth;
  kernels.matmulLower({ out: at.out, left: at.scores, right: values, rows, cols: valueWidth, leftRow: TILE });
  kernels.lowerRowSums(at.divisor, at.scores, rows, TILE);
}
