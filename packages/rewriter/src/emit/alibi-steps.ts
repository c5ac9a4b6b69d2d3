import { DataType } from "@favor/onnx";
import type { Alibi } from "../attention/alibi.ts";
import { cutColumns, type Chunks } from "./chunks.ts";

/** By how much ALiBi lets log weights fall on the way through each chunk, m times positions. */
export interface AlibiSteps {
  /** From a position to the last one of its chunk, [batch or 1, heads, chunks, 1, chunk]. */
  readonly toEnd: string;
  /** From the last position of the chunk before, in the same layout. */
  readonly fromStart: string;
  /** From the chunk before to this one, [batch or 1, heads, chunks, 1, 1]. */
  readonly across: string;
}

/**
 * @param keep booleans [batch, heads or 1, 1, keys], or undefined if every key counts
 */
export function alibiSteps(cut: Chunks, { slopes, positions }: Alibi, keep: string | undefined): AlibiSteps {
  const { build, length, chunk } = cut;
  // The padding behind the end takes no step, so that the last state is relative to the last position.
  const ones = build.op("Expand", [build.scalar(1), build.concat([build.integers([1, 1, 1]), length], 0)]);
  const taken = positions === "kept" && keep !== undefined ? build.cast(keep, DataType.FLOAT) : ones;
  const own = cutColumns(cut, taken, 0);
  const at = build.range(chunk);
  const isLater = build.op("Less", [build.unsqueeze(at, [0]), build.unsqueeze(at, [1])]);
  const later = build.op("MatMul", [own, build.cast(isLater, DataType.FLOAT)]);
  const all = build.reduceSum(own, 4);
  const slope = build.floats("slopes", [slopes.length, 1, 1, 1], Float64Array.from(slopes));
  const fallOver = (count: string): string => build.op("Mul", [count, slope]);
  return { toEnd: fallOver(later), fromStart: fallOver(build.op("Sub", [all, later])), across: fallOver(all) };
}
