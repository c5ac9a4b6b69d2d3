import type { NodeBuilder } from "@favor/onnx/graph";
import type { Alibi } from "../attention/alibi.ts";
import { maskedLog } from "../stateful/log-range.ts";
import { alibiSteps } from "./alibi-steps.ts";
import { applyCore, atLeast } from "./causal.ts";
import { cutColumns, cutRows, cutSequence, joinRows } from "./chunks.ts";
import { keyLogWeights, normalised, onesColumn, type LinearFeatures } from "./linear.ts";
import { prefixStates } from "./prefix-states.ts";

/**
 * Bidirectional linear attention with ALiBi, O(L) in time and memory, of standard operators (opset 9 on). The weight
 * exp(-m |i - j|) of a key falls to both sides, so two Scans carry states from chunk to chunk:
 *
 *     out_i = (a_i phi(q_i) F + sum_j exp(c_j - m |i - j|) phi(q_i).phi(k_j) [v_j, 1] + b_i phi(q_i) B), normalised,
 *
 * with j in the chunk of i, F the sums over all chunks before it and B those over all chunks behind it, each relative to
 * the end of the chunk that it comes in by. The key at i counts once, within the chunk.
 *
 * Exponents are relative to the largest log weight that the query sees: none is positive.
 *
 * @returns [batch, heads, queries, valueDim]
 */
export function emitTwoScans(build: NodeBuilder, features: LinearFeatures, alibi: Alibi, valueDim: number): string {
  const query = applyCore(build, features);
  const cut = cutSequence(build, build.dimension(query, 2));
  const queries = cutRows(cut, query); // [batch, heads, chunks, chunk, M]
  const keys = cutColumns(cut, features.keyColumns, 0); // [batch, heads, chunks, M, chunk]
  const values = cutRows(cut, build.concat([features.value, onesColumn(build, features.value)], 3));
  const logs = cutColumns(cut, keyLogWeights(build, features), maskedLog); // [batch, heads, chunks, 1, chunk]
  const { toEnd, fromStart, across } = alibiSteps(cut, alibi, features.keep);

  /** phi(q) S of the states that reach a chunk at one end, and their log scales at each query: [..., chunk, 1]. */
  const beyond = (direction: "forward" | "backward"): { sums: string; logScale: string } => {
    // A key fades on the way to the end at which its chunk is left.
    const leaving = build.op("Sub", [logs, direction === "forward" ? toEnd : fromStart]);
    const largest = build.reduceMax(leaving, 4);
    const weighted = build.op("Mul", [keys, build.op("Exp", [build.op("Sub", [leaving, atLeast(build, largest)])])]);
    const own = build.op("MatMul", [weighted, values]);
    const states = prefixStates(build, own, largest, { fade: across, direction });
    // Log scales have faded through the whole chunk, which the queries are in the middle of.
    const back = build.transpose(direction === "forward" ? toEnd : fromStart, [0, 1, 2, 4, 3]);
    return {
      sums: build.op("MatMul", [queries, states.sumsBefore]),
      logScale: build.op("Add", [states.logScalesBefore, back]),
    };
  };
  const [before, behind] = [beyond("forward"), beyond("backward")];

  const apart = build.op("Abs", [build.op("Sub", [build.transpose(fromStart, [0, 1, 2, 4, 3]), fromStart])]);
  const near = build.op("Sub", [logs, apart]); // [batch, heads, chunks, chunk, chunk]
  const reference = atLeast(build, build.op("Max", [build.reduceMax(near, 4), before.logScale, behind.logScale]));
  const relative = (logScale: string): string => build.op("Exp", [build.op("Sub", [logScale, reference])]);
  const within = build.op("Mul", [build.op("MatMul", [queries, keys]), relative(near)]);
  const total = [before, behind].reduce(
    (sum, { sums, logScale }) => build.op("Add", [sum, build.op("Mul", [sums, relative(logScale)])]),
    build.op("MatMul", [within, values]),
  );
  return normalised(build, joinRows(cut, total), valueDim, features.positive);
}
