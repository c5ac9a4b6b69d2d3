import { elementCount } from "@favor/onnx/evaluate";
import { EvaluationError, EvaluationLimitError } from "@favor/onnx/evaluate";
import type { GraphProbe } from "@favor/onnx/graph";
import type { Region, RegionLabels } from "../wiring/region.ts";

/** Operators that treat all batches, heads and rows the same, so that a few of them stand for all. */
const uniform = new Set([
  ..."Softmax LogSoftmax Exp Log Neg Reciprocal Add Sub Mul Div Max Min Clip Where ReduceMax ReduceSum".split(" "),
  ..."Cast CastLike Identity Dropout IsNaN Equal Not And Or".split(" "),
]);
/** Enough positions to see what a region computes if no mask distinguishes them. */
const fewPositions = 17;
/** One head and three rows of 1,024 positions fit; several arrays of so many numbers take some 300 MB. */
const mostLogits = 2 ** 22;

/**
 * The shape in which a region's logits are evaluated: the probe's own, or smaller where the region's operators and what
 * it reads from outside treat all heads the same and, without a mask, all positions the same.
 *
 * @throws EvaluationLimitError if that is too large to evaluate, EvaluationError where the probe does not reach the logits
 */
export function probedLogits(
  region: Region,
  values: readonly string[],
  labels: RegionLabels,
  probe: GraphProbe,
): number[] {
  const logitsShape = probe.info.get(region.logits.output.value);
  if (logitsShape === undefined) {
    throw new EvaluationError(region.logits.node, "the shape of its output cannot be told at every length");
  }
  const dims = [...logitsShape.dims];
  const shapes = values.map((value) => probe.info.get(value)?.dims);
  if (region.nodes.every((node) => uniform.has(node.opType)) && shapes.every((shape) => shape !== undefined)) {
    const isPlain = shapes.every((shape) => elementCount(shape!) === 1);
    const { logits } = labels;
    dims.forEach((size, axis) => {
      const label = logits.labels[axis]!;
      const isAlike = isPlain || shapes.every((shape) => (shape!.at(axis - dims.length) ?? 1) === 1);
      // The first axis is the batch, which a mask's samples are told apart by.
      if (logits.batch.includes(label) && isAlike && (isPlain || axis > 0)) dims[axis] = Math.min(size, 1);
      else if (isPlain || (isAlike && label === logits.query)) dims[axis] = Math.min(size, fewPositions);
    });
  }
  const count = elementCount(dims);
  if (!(count <= mostLogits)) throw new EvaluationLimitError("logits", mostLogits, count, region.logits.node);
  return dims;
}

/** Labels of axes of heads that the region and its outer values treat the same, so that one head stands for all. */
export function treatsHeadsAlike(
  region: Region,
  values: readonly string[],
  { logits }: RegionLabels,
  probe: GraphProbe,
): string[] {
  const rank = logits.labels.length;
  const shapes = values.map((value) => probe.info.get(value)?.dims);
  if (!region.nodes.every((node) => uniform.has(node.opType)) || shapes.includes(undefined)) return [];
  return [...logits.batch].filter((label) => {
    const axis = logits.labels.indexOf(label);
    return axis > 0 && shapes.every((shape) => (shape!.at(axis - rank) ?? 1) === 1 || shape!.length < rank - axis);
  });
}
