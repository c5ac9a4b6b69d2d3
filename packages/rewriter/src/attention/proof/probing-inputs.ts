import { elementCount, isFloat, isInteger, tensorOf, type Tensor } from "@favor/onnx/evaluate";
import { DataType, type ValueInfoProto } from "@favor/onnx";
import type { AttentionContext } from "../context.ts";
import { layoutOperators, orderComparisons } from "@favor/onnx/semantics";
import { reachable, type Graph, type GraphProbe } from "@favor/onnx/graph";

/** Inputs with more elements are left out, and anything that needs them cannot be evaluated. */
const largestInput = 2 ** 20;
/** What exporters add to logits to hide them, the oldest and mildest of them. */
const additiveMask = -1e4;
/** No vocabulary is larger; what is compared with more is a length. */
const mostTokens = 2 ** 24;
/** Values followed from an input to where it is added. */
const mostValues = 64;
const leavesNumbers: ReadonlySet<string> = new Set(["Cast", "Expand", "Slice", ...layoutOperators]);

/** Random zeros and ones; all ones and real tokens; all zeros and padding. */
export type DrawMode = "mixed" | "ones" | "zeros";

/**
 * Inputs to probe a mask with: every integer, boolean or float input gets zeros and ones, mixed with the constants
 * that the graph compares it with (padding ids), or zeros and large negative numbers if it is added; in mixed ones at
 * least one real token first or last in every row, as with any tokenizer, so that no row is all padding. Single integers and vectors of them are lengths.
 *
 * @param read names of the values that the mask is made of; what no mask reads, such as an image, is not drawn
 */
export function drawInputs(
  context: AttentionContext,
  probe: GraphProbe,
  random: () => number,
  mode: DrawMode,
  read: ReadonlySet<string>,
): Map<string, Tensor> {
  const feeds = new Map<string, Tensor>();
  for (const input of context.graph.root.inputs) {
    const shape = probe.info.get(input.name);
    if (shape === undefined || !read.has(input.name) || elementCount(shape.dims) > largestInput) continue;
    const { dims, dataType } = shape;
    feeds.set(
      input.name,
      isLengths(dims, dataType)
        ? drawLengths(dims, dataType, probe.sizes.length, random, mode)
        : drawInput(context, input, dims, dataType, random, mode),
    );
  }
  return feeds;
}

const isLengths = (dims: readonly number[], dataType: number): boolean => dims.length <= 1 && isInteger(dataType);

/** Lengths of sequences, at least 1. */
function drawLengths(
  dims: readonly number[],
  dataType: number,
  longest: number,
  random: () => number,
  mode: DrawMode,
): Tensor {
  const draw = mode === "ones" ? () => longest : mode === "zeros" ? () => 1 : () => 1 + Math.floor(random() * longest);
  return tensorOf(dataType, dims, Float64Array.from({ length: dims[0] ?? 1 }, draw));
}

function drawInput(
  context: AttentionContext,
  input: ValueInfoProto,
  dims: readonly number[],
  dataType: number,
  random: () => number,
  mode: DrawMode,
): Tensor {
  const size = elementCount(dims);
  const isBinary = dataType === DataType.BOOL || dims.length !== 2;
  const { equal: compared, divided } = isBinary ? { equal: [], divided: [] } : comparedConstants(context, input.name);
  // Real tokens differ from the constants by which padding is recognised.
  const real = compared.length === 0 ? 1 : 7;
  if (dims.length >= 2 && isFloat(dataType) && isAdded(context, input.name)) {
    const width = dims.at(-1)!;
    // Mixed rows begin with a key that counts.
    const hides = (i: number): boolean => (mode === "mixed" ? i % width > 0 && random() < 0.5 : mode === "zeros");
    return tensorOf(
      dataType,
      dims,
      Float64Array.from({ length: size }, (_, i) => (hides(i) ? additiveMask : 0)),
    );
  }
  if (mode !== "mixed") {
    const value = mode === "ones" ? real : (compared[0] ?? 0);
    return tensorOf(dataType, dims, new Float64Array(size).fill(value));
  }
  const tokens = compared.length === 0 ? [0, 1] : [...compared, ...compared.map((value) => value + 2), 3, 5];
  const pool = [...tokens, ...divided];
  const values = Float64Array.from({ length: size }, () => pool[Math.floor(random() * pool.length)]!);
  const width = dims.at(-1) ?? 1;
  // Padded in front or behind: what goes by the first token alone shows where that is not always the same.
  for (let at = 0; at < size && dims.length === 2; at += width) values[at + (random() < 0.5 ? 0 : width - 1)] = real;
  return tensorOf(dataType, dims, values);
}

/** Whether an input is added to something as it is: a mask of 0 and of numbers far below, if it is a mask. */
function isAdded({ graph }: AttentionContext, input: string): boolean {
  for (const value of madeThrough(graph, input, leavesNumbers)) {
    if (graph.consumers(value).some(({ opType }) => opType === "Add")) return true;
  }
  return false;
}

/** An input, and the values that operators of these kinds compute from it. */
function madeThrough(graph: Graph, input: string, operators: ReadonlySet<string>): Iterable<string> {
  const next = (value: string): string[] =>
    graph
      .consumers(value)
      .flatMap((node) => (operators.has(node.opType) && node.input[0] === value ? node.output : []));
  return reachable([input], next, mostValues);
}

/** Operators that leave the numbers of an input as they are, or the largest and smallest of them. */
const keepsNumbers = new Set([...leavesNumbers, "Gather", "ReduceMax", "ReduceMin"]);

/** Constants that an input is compared with, and what lies on both sides of those that divide its numbers. */
function comparedConstants({ graph }: AttentionContext, input: string): { equal: number[]; divided: number[] } {
  const equal = new Set<number>();
  const divided = new Set<number>();
  for (const value of madeThrough(graph, input, keepsNumbers)) {
    for (const node of graph.consumers(value)) {
      const other = node.input[node.input[0] === value ? 1 : 0];
      const constant = other === undefined ? undefined : graph.constant(other);
      if (constant?.data.length !== 1) continue;
      const bound = constant.data[0]!;
      if (node.opType === "Equal") equal.add(bound);
      // A mask is 0 and 1 anyway, and has nothing on the other side of a bound below or above these.
      if (orderComparisons.has(node.opType) && bound >= 1 && bound < mostTokens) {
        for (const near of [Math.floor(bound) - 1, Math.floor(bound), Math.floor(bound) + 1]) divided.add(near);
      }
    }
  }
  // 0 and 1 are what a mask holds anyway: an input compared with them alone is a mask.
  const isMask = [...equal].every((value) => value === 0 || value === 1) && !equal.has(1);
  return { equal: isMask ? [] : [...equal], divided: [...divided] };
}
