import { alibiSteps } from "./alibi-steps.ts";
import { cutColumns, cutRows, cutSequence, joinRows, lowerTriangle } from "./chunks.ts";
import { keyLogWeights, normalised, onesColumn, type LinearFeatures } from "./linear.ts";
import { leastLog, maskedLog } from "../stateful/log-range.ts";
import type { NodeBuilder } from "@favor/onnx/graph";
import { prefixStates } from "./prefix-states.ts";
import type { CarriedState } from "../stateful/state.ts";

/**
 * Causal linear attention by chunked prefix sums (2009.14794, section 3.2.1), O(L) in time and memory, of standard
 * operators (opset 9 on). A chunk's queries meet the keys before the chunk through the state S, and those of the chunk
 * itself through a triangle of chunk x chunk products.
 *
 * Every exponent is relative to the largest log weight seen so far: of the keys up to the query, never a later one. With
 * ALiBi the log weights of a chunk are relative to its last position, so that they stay small however long the sequence is.
 *
 * @param carried the state before the first key; undefined to begin with none
 * @returns [batch, heads, queries, valueDim], and the state after the last key
 */
export function emitCausal(
  build: NodeBuilder,
  features: LinearFeatures,
  valueDim: number,
  carried?: CarriedState,
): { output: string; state: CarriedState } {
  const query = applyCore(build, features);
  const cut = cutSequence(build, build.dimension(query, 2));

  const queries = cutRows(cut, query); // [batch, heads, chunks, chunk, M]
  const keys = cutColumns(cut, features.keyColumns, 0); // [batch, heads, chunks, M, chunk]
  const values = cutRows(cut, build.concat([features.value, onesColumn(build, features.value)], 3));
  const steps = features.alibi && alibiSteps(cut, features.alibi, features.keep);
  const ownLogs = cutColumns(cut, keyLogWeights(build, features), maskedLog); // [batch, heads, chunks, 1, chunk]
  // Keys fade towards the end of their chunk; the rest of the way is the same for all that a query sees.
  const logs = steps === undefined ? ownLogs : build.op("Sub", [ownLogs, steps.toEnd]);

  // States: every chunk's own sums, relative to its largest weight, then their running sums before each chunk.
  const largest = build.reduceMax(logs, 4);
  const weighted = build.op("Mul", [keys, build.op("Exp", [build.op("Sub", [logs, atLeast(build, largest)])])]);
  const own = build.op("MatMul", [weighted, values]);
  const prefix = prefixStates(build, own, largest, { carried, fade: steps?.across });

  // The reference of each query is the largest log weight among its visible keys.
  const triangle = lowerTriangle(build, cut.chunk);
  const visible = build.op("Where", [triangle, logs, build.scalar(maskedLog)]);
  const reference = atLeast(build, build.op("Max", [build.reduceMax(visible, 4), prefix.logScalesBefore]));
  const within = build.op("Mul", [
    build.op("MatMul", [queries, keys]),
    build.op("Exp", [build.op("Sub", [visible, reference])]),
  ]);
  const before = build.op("Mul", [
    build.op("MatMul", [queries, prefix.sumsBefore]),
    build.op("Exp", [build.op("Sub", [prefix.logScalesBefore, reference])]),
  ]);
  const sums = joinRows(cut, build.op("Add", [build.op("MatMul", [within, values]), before]));
  return { output: normalised(build, sums, valueDim, features.positive), state: prefix.last };
}

/** If no key is visible, hidden ones must not count as the heaviest: all of them weigh 0, and so do later ones. */
export function atLeast(build: NodeBuilder, logs: string): string {
  return build.op("Max", [logs, build.scalar(leastLog)]);
}

/** Applies the core to the query's features, so that the state stays a sum over keys. */
export function applyCore(build: NodeBuilder, { query, core }: Pick<LinearFeatures, "query" | "core">): string {
  if (core === undefined) return query;
  if (core.kind === "matrix") return build.op("MatMul", [query, core.value]);
  return build.op("Mul", [query, build.transpose(build.unsqueeze(core.value, [0]), [0, 1, 3, 2])]);
}
