import { keyLogWeights, normalised, onesColumn, type LinearFeatures } from "./linear.ts";
import { leastLog, maskedLog } from "../stateful/log-range.ts";
import type { NodeBuilder } from "@favor/onnx/graph";
import { prefixStates } from "./prefix-states.ts";
import type { CarriedState } from "../stateful/state.ts";

/** Positions per chunk: intra-chunk work costs chunk x M, states cost M x valueDim / chunk for each position. */
const chunkLength = 64;

/**
 * Causal linear attention by chunked prefix sums (2009.14794, section 3.2.1), O(L) in time and memory, of standard
 * operators (opset 9 on). A chunk's queries meet the keys before the chunk through the state S, and those of the chunk
 * itself through a triangle of chunk x chunk products.
 *
 * Every exponent is relative to the largest log weight seen so far: of the keys up to the query, never a later one.
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
  const length = build.dimension(query, 2);
  const one = build.integers([1]);
  // An empty sequence is one chunk of padding.
  const whole = build.extreme("Max", [length, one]);
  const chunk = build.extreme("Min", [whole, build.integers([chunkLength])]);
  const chunks = build.op("Div", [build.op("Sub", [build.op("Add", [whole, chunk]), one]), chunk]);
  const extra = build.op("Sub", [build.op("Mul", [chunks, chunk]), length]);
  const cut: Chunks = { build, chunks, chunk, extra };

  const queries = cutRows(cut, query); // [batch, heads, chunks, chunk, M]
  const keys = cutColumns(cut, features.keyColumns, 0); // [batch, heads, chunks, M, chunk]
  const values = cutRows(cut, build.concat([features.value, onesColumn(build, features.value)], 3));
  const logs = cutColumns(cut, keyLogWeights(build, features), maskedLog); // [batch, heads, chunks, 1, chunk]

  // States: every chunk's own sums, relative to its largest weight, then their running sums before each chunk.
  const largest = build.reduceMax(logs, 4);
  const weighted = build.op("Mul", [keys, build.op("Exp", [build.op("Sub", [logs, atLeast(build, largest)])])]);
  const own = build.op("MatMul", [weighted, values]);
  const prefix = prefixStates(build, own, largest, carried);

  // The reference of each query is the largest log weight among its visible keys.
  const triangle = lowerTriangle(build, chunk);
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
  const sums = joinRows(cut, build.op("Add", [build.op("MatMul", [within, values]), before]), length);
  return { output: normalised(build, sums, valueDim, features.positive), state: prefix.last };
}

/** If no key is visible, hidden ones must not count as the heaviest: all of them weigh 0, and so do later ones. */
function atLeast(build: NodeBuilder, logs: string): string {
  return build.op("Max", [logs, build.scalar(leastLog)]);
}

/** Applies the core to the query's features, so that the state stays a sum over keys. */
export function applyCore(build: NodeBuilder, { query, core }: Pick<LinearFeatures, "query" | "core">): string {
  if (core === undefined) return query;
  if (core.kind === "matrix") return build.op("MatMul", [query, core.value]);
  return build.op("Mul", [query, build.transpose(build.unsqueeze(core.value, [0]), [0, 1, 3, 2])]);
}

interface Chunks {
  readonly build: NodeBuilder;
  /** Number of chunks, their length, and the padding at the end: lists of one integer. */
  readonly chunks: string;
  readonly chunk: string;
  readonly extra: string;
}

/** [batch, heads, length, width] to [batch, heads, chunks, chunk, width]. */
function cutRows({ build, chunks, chunk, extra }: Chunks, value: string): string {
  const padded = pad(build, value, 2, extra, 0);
  const shape = build.op("Shape", [value]);
  const outer = build.slice(shape, 0, 0, 2);
  return build.op("Reshape", [padded, build.concat([outer, chunks, chunk, build.slice(shape, 0, 3, 4)], 0)]);
}

/** [batch, heads, width, length] to [batch, heads, chunks, width, chunk]. */
function cutColumns({ build, chunks, chunk, extra }: Chunks, value: string, filler: number): string {
  const padded = pad(build, value, 3, extra, filler);
  const outer = build.slice(build.op("Shape", [value]), 0, 0, 3);
  const cut = build.op("Reshape", [padded, build.concat([outer, chunks, chunk], 0)]);
  return build.transpose(cut, [0, 1, 3, 2, 4]);
}

/** [batch, heads, chunks, chunk, width] to [batch, heads, length, width]. */
function joinRows({ build, chunks, chunk }: Chunks, value: string, length: string): string {
  const shape = build.op("Shape", [value]);
  const rows = build.op("Mul", [chunks, chunk]);
  const target = build.concat([build.slice(shape, 0, 0, 2), rows, build.slice(shape, 0, 4, 5)], 0);
  const joined = build.op("Reshape", [value, target]);
  // Slice takes its bounds as inputs since opset 10.
  return build.graph.opset >= 10
    ? build.op("Slice", [joined, build.integers([0]), length, build.integers([2])])
    : build.op("Gather", [joined, build.range(length)], { axis: { int: 2 } });
}

/** Appends `extra` entries of a value on one of four axes. */
export function pad(build: NodeBuilder, value: string, axis: number, extra: string, filler: number): string {
  if (build.graph.opset < 11) {
    // Pad takes its widths as inputs since opset 11.
    const shape = build.op("Shape", [value]);
    const sizes = [0, 1, 2, 3].map((at) => (at === axis ? extra : build.slice(shape, 0, at, at + 1)));
    return build.concat([value, build.op("Expand", [build.scalar(filler), build.concat(sizes, 0)])], axis);
  }
  const zeros = (count: number): string[] =>
    count > 0 ? [build.integers(Array.from({ length: count }, () => 0))] : [];
  const pads = build.concat([...zeros(4 + axis), extra, ...zeros(3 - axis)], 0);
  return build.op("Pad", [value, pads, build.scalar(filler)]);
}

/** key <= query within a chunk, [chunk, chunk]. */
function lowerTriangle(build: NodeBuilder, chunk: string): string {
  const positions = build.range(chunk);
  return build.op("Not", [build.op("Less", [build.unsqueeze(positions, [1]), build.unsqueeze(positions, [0])])]);
}
