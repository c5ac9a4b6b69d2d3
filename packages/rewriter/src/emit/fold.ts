import type { ExponentialForm } from "@favor/core";
import type { AttentionContext } from "../attention/context.ts";
import { traceProjection, type ProjectionTrace } from "../attention/operands/projection-trace.ts";
import type { AttentionSite } from "../attention/site.ts";
import type { Graph } from "@favor/onnx/graph";
import { DataType } from "@favor/onnx";
import { makeTensor, tensorValues } from "@favor/onnx";
import type { FoldedSides } from "./exponential.ts";
import { isBalanced } from "./side-maps.ts";
import { standardScales } from "./scales.ts";

/**
 * Folds a calibration's affine maps into the projection weights of query and key: q' = A_q (scale q - mean) becomes the
 * projection itself, so at run time a calibrated site costs no more than a plain one. Weights with other readers are
 * copied, never edited. If a side cannot be folded, the emitter applies its map explicitly.
 */
export function foldCalibration(
  graph: Graph,
  context: AttentionContext,
  site: AttentionSite,
  forms: readonly ExponentialForm[],
): FoldedSides {
  const scales = standardScales(site);
  const fold = (
    trace: ProjectionTrace | undefined,
    upstream: number,
    scale: number,
    sides: readonly Side[],
  ): boolean => {
    if (trace === undefined) return false;
    if (trace.bias === undefined && sides.some(({ mean }) => mean.some((m) => m !== 0))) return false;
    foldSide(graph, trace, sides, scale, upstream);
    return true;
  };
  // Trace both before changing a weight: in a packed projection they share one.
  const queryTrace = traceProjection(context, site.query, site.heads);
  const foldsKey = site.keyValueHeads === site.heads && forms.every(isBalanced);
  const keyTrace = foldsKey ? traceProjection(context, site.key, site.heads) : undefined;
  return {
    query: fold(
      queryTrace,
      site.queryScale,
      scales.query,
      forms.map((f) => ({ matrix: f.queryMatrix, mean: f.queryMean })),
    ),
    key: fold(
      keyTrace,
      site.keyScale,
      scales.key,
      forms.map((f) => ({ matrix: f.keyMatrix, mean: f.keyMean })),
    ),
  };
}

interface Side {
  /** [dim, dim] row-major */
  readonly matrix: Float64Array;
  /** [dim] */
  readonly mean: Float64Array;
}

/**
 * W' and b' with upstream (x W' + b') = A (scale upstream (x W + b) - mean), per head on its own columns.
 */
function foldSide(graph: Graph, trace: ProjectionTrace, sides: readonly Side[], scale: number, upstream: number): void {
  const { product, columns, transposed, bias } = trace;
  const weight = tensorValues(graph.constantProto(product.input[1]!)!);
  const [rows, width] = transposed ? [weight.dims[1]!, weight.dims[0]!] : [weight.dims[0]!, weight.dims[1]!];
  const entries = Float32Array.from(weight.data as Float32Array);
  const steps = transposed ? { row: 1, column: rows } : { row: width, column: 1 };
  multiplyHeads(sides, columns, entries, { rows, ...steps }, scale);
  product.input[1] = replaceTensor(graph, product.input[1]!, weight.dims, entries);
  if (bias === undefined) return;
  const old = tensorValues(graph.constantProto(bias.node.input[bias.input]!)!);
  const dim = sides[0]!.mean.length;
  // A (scale b - mean / upstream): the mean is subtracted before the map.
  const centred = Float64Array.from(old.data as Float32Array);
  columns.forEach((column, at) => {
    centred[column] = scale * centred[column]! - sides[Math.floor(at / dim)]!.mean[at % dim]! / upstream;
  });
  multiplyHeads(sides, columns, centred, { rows: 1, row: width, column: 1 }, 1);
  bias.node.input[bias.input] = replaceTensor(
    graph,
    bias.node.input[bias.input]!,
    old.dims,
    Float32Array.from(centred),
  );
}

/** How a matrix lies in its array: its number of rows, and the steps from a row, and from a column, to the next. */
interface Strides {
  readonly rows: number;
  readonly row: number;
  readonly column: number;
}

/** Replaces each head's columns w of a matrix by scale A w, summed in float64; four rows at a time. */
function multiplyHeads(
  sides: readonly Side[],
  columns: Int32Array,
  entries: Float32Array | Float64Array,
  { rows, row, column }: Strides,
  scale: number,
): void {
  const dim = sides[0]!.mean.length;
  // [dim, 4]: four sums that do not wait for each other take little longer than one.
  const block = new Float64Array(dim * 4);
  const sums = new Float64Array(4);
  for (const [head, { matrix }] of sides.entries()) {
    const own = columns.subarray(head * dim, (head + 1) * dim);
    for (let first = 0; first < rows; first += 4) {
      const count = Math.min(4, rows - first);
      for (let j = 0; j < dim; j++) {
        const from = first * row + own[j]! * column;
        for (let r = 0; r < count; r++) block[j * 4 + r] = entries[from + r * row]!;
      }
      for (let i = 0; i < dim; i++) {
        multiplyRow(matrix, i * dim, block, sums);
        const to = first * row + own[i]! * column;
        for (let r = 0; r < count; r++) entries[to + r * row] = scale * sums[r]!;
      }
    }
  }
}

/** sums = a block, for the row a of a matrix that begins at `start` and a block [dim, 4]. */
function multiplyRow(matrix: Float64Array, start: number, block: Float64Array, sums: Float64Array): void {
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  for (let at = 0, j = start; at < block.length; at += 4, j++) {
    const factor = matrix[j]!;
    s0 += factor * block[at]!;
    s1 += factor * block[at + 1]!;
    s2 += factor * block[at + 2]!;
    s3 += factor * block[at + 3]!;
  }
  sums[0] = s0;
  sums[1] = s1;
  sums[2] = s2;
  sums[3] = s3;
}

function replaceTensor(graph: Graph, name: string, dims: readonly number[], values: Float32Array): string {
  const fresh = graph.freshName(`${name}/calibrated`);
  graph.addInitializer(makeTensor(fresh, dims, DataType.FLOAT, values));
  return fresh;
}
