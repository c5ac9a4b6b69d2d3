import type { ExponentialForm } from "@favor/core";
import type { AttentionContext } from "../attention/context.ts";
import { traceProjection, type ProjectionTrace } from "../attention/operands/projection-trace.ts";
import type { AttentionSite } from "../attention/site.ts";
import type { Graph } from "@favor/onnx/graph";
import { DataType } from "@favor/onnx";
import { makeTensor, tensorValues } from "@favor/onnx";
import { isBalanced, type FoldedSides } from "./exponential.ts";
import { standardScales } from "./scales.ts";

/**
 * Puts a calibration's affine maps into the query's and key's projection weights, so that at run time a calibrated site
 * costs what a plain one costs: q' = A_q (scale q - mean) becomes the projection itself. Weights that something else
 * reads are copied, never edited. A side that cannot be folded is left, and the emitter applies its map explicitly.
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
  // Both are traced before either changes a weight: in a packed projection they share one.
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
  const entry = (row: number, column: number): number => (transposed ? column * rows + row : row * width + column);
  const folded = Float32Array.from(weight.data as Float32Array);
  for (let row = 0; row < rows; row++) {
    applyHeads(
      sides,
      columns,
      (column) => weight.data[entry(row, column)] as number,
      (column, value) => {
        folded[entry(row, column)] = scale * value;
      },
    );
  }
  product.input[1] = replaceTensor(graph, product.input[1]!, weight.dims, folded);
  if (bias === undefined) return;
  const old = tensorValues(graph.constantProto(bias.node.input[bias.input]!)!);
  const shifted = Float32Array.from(old.data as Float32Array);
  const dim = sides[0]!.mean.length;
  // A (scale b - mean / upstream): the mean is subtracted before the map.
  const centred = new Float64Array(columns.length);
  columns.forEach((column, at) => {
    centred[at] = scale * (old.data[column] as number) - sides[Math.floor(at / dim)]!.mean[at % dim]! / upstream;
  });
  const byColumn = new Map(Array.from(columns, (column, at) => [column, centred[at]!]));
  applyHeads(
    sides,
    columns,
    (column) => byColumn.get(column)!,
    (column, value) => {
      shifted[column] = value;
    },
  );
  bias.node.input[bias.input] = replaceTensor(graph, bias.node.input[bias.input]!, old.dims, shifted);
}

/** Multiplies each head's entries by its matrix. */
function applyHeads(
  sides: readonly Side[],
  columns: Int32Array,
  read: (column: number) => number,
  write: (column: number, value: number) => void,
): void {
  const dim = sides[0]!.mean.length;
  const values = new Float64Array(dim);
  sides.forEach(({ matrix }, head) => {
    for (let j = 0; j < dim; j++) values[j] = read(columns[head * dim + j]!);
    for (let i = 0; i < dim; i++) {
      let sum = 0;
      for (let j = 0; j < dim; j++) sum += matrix[i * dim + j]! * values[j]!;
      write(columns[head * dim + i]!, sum);
    }
  });
}

function replaceTensor(graph: Graph, name: string, dims: readonly number[], values: Float32Array): string {
  const fresh = graph.freshName(`${name}/calibrated`);
  graph.addInitializer(makeTensor(fresh, dims, DataType.FLOAT, values));
  return fresh;
}
