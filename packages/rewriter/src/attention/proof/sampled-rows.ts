import { elementCount, tensorOf, type Tensor } from "@favor/onnx/evaluate";
import type { GraphProbe } from "@favor/onnx/graph";
import { relabel } from "./layout.ts";
import { treatsHeadsAlike } from "./probed-logits.ts";
import { regionInputs } from "./region-evaluation.ts";
import { SampledEvaluation, type Kept } from "./sampled-evaluation.ts";
import type { MaskQuestion } from "./window-proof.ts";

/** Logits that are looked at where rows cannot be told apart. */
const mostLogits = 2 ** 21;

/** What is to be seen of a region at one size. */
export interface RowsWanted {
  /** Positions of the queries; undefined: all heads, queries and keys. */
  readonly rows: ((queries: number) => number[]) | undefined;
  /** Positions of the keys; undefined: all. */
  readonly columns: ((keys: number, rows: readonly number[]) => number[]) | undefined;
  /** Draws one logit. */
  readonly logit: () => number;
}

/** Some rows of a region's probabilities at one size, with their logits. */
export interface SampledRows {
  readonly queries: number;
  readonly keys: number;
  /** Batch and heads together; one head stands for all where they are treated alike. */
  readonly groups: number;
  /** Positions of the queries and, if not all were wanted, of the keys. */
  readonly rows: readonly number[];
  readonly columns: readonly number[] | undefined;
  /** As the type of the logits rounds them, [groups, rows, columns]. */
  readonly logits: Float64Array;
  /** [groups, rows, columns] */
  readonly probabilities: Float64Array;
  /** Any other value, all of it. */
  readonly whole: (value: string) => Tensor;
}

/**
 * Evaluates some rows of a region; undefined where the probe does not reach it, or everything would be too much.
 *
 * @param feeds inputs of the model
 * @throws TooLargeToSample where rows cannot be told apart; what `evaluateGraph` throws
 */
export function sampleRows(
  { context, region, labels }: MaskQuestion,
  probe: GraphProbe,
  feeds: ReadonlyMap<string, Tensor>,
  { rows: rowsOf, columns: columnsOf, logit }: RowsWanted,
): SampledRows | undefined {
  const { logits, probabilities } = labels;
  const shape = probe.info.get(region.logits.output.value);
  if (shape === undefined) return undefined;
  if (rowsOf === undefined && elementCount(shape.dims) > mostLogits) return undefined;
  const size = (label: string): number => shape.dims[logits.labels.indexOf(label)]!;
  const [queries, keys] = [size(logits.query), size(logits.key)];
  const evaluation = new SampledEvaluation(context.graph, probe, feeds, context.confirming);
  const rows = rowsOf?.(queries) ?? Array.from({ length: queries }, (_, at) => at);
  const columns = columnsOf?.(keys, rows);
  const alike = new Set(treatsHeadsAlike(region, regionInputs(context, region, probe).values, labels, probe));
  const oneHead = [0];
  /** What is kept of the logits or the probabilities; each has labels of its own, in the same order. */
  const keptIn = (end: typeof logits): Kept => {
    if (rowsOf === undefined) return new Map();
    const kept = new Map<number, readonly number[]>([[end.labels.indexOf(end.query), rows]]);
    if (columns !== undefined) kept.set(end.labels.indexOf(end.key), columns);
    for (const [at, label] of [...logits.batch].entries()) {
      if (alike.has(label) && size(label) > 1) kept.set(end.labels.indexOf(end.batch[at]!), oneHead);
    }
    return kept;
  };
  const keptLogits = keptIn(logits);
  const canonical = logits.batch + logits.query + logits.key;
  const dims = [...canonical].map((label) => keptLogits.get(logits.labels.indexOf(label))?.length ?? size(label));
  const drawn = Float64Array.from({ length: elementCount(dims) }, logit);
  const arranged = relabel(drawn, dims, canonical, logits.labels);
  const given = tensorOf(shape.dataType, arranged.dims, arranged.data);
  evaluation.give(region.logits.output.value, keptLogits, given);
  const made = evaluation.at(region.probabilities.value, keptIn(probabilities));
  const order = probabilities.batch + probabilities.query + probabilities.key;
  return {
    queries,
    keys,
    groups: elementCount(dims.slice(0, -2)),
    rows,
    columns,
    logits: relabel(given.data, given.dims, logits.labels, canonical).data,
    probabilities: relabel(made.data, made.dims, probabilities.labels, order).data,
    whole: (value) => evaluation.whole(value),
  };
}
