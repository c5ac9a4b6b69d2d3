import { elementCount, isFloat, isInteger, tensorOf, type Tensor } from "../evaluate/tensor.ts";
import { DataType, type ValueInfoProto } from "../model/proto.ts";
import type { AttentionContext, GraphProbe } from "./context.ts";

/** Inputs with more elements are left out, and what needs them cannot be evaluated. */
const largestInput = 2 ** 20;
/** What exporters add to logits to hide them, the oldest and mildest of them. */
const additiveMask = -1e4;
/** Values followed from an input to where it is added. */
const longestWay = 64;
const leavesNumbers = new Set("Cast Identity Unsqueeze Squeeze Reshape Expand Transpose Slice".split(" "));

/** Random zeros and ones; all ones and real tokens; all zeros and padding. */
export type DrawMode = "mixed" | "ones" | "zeros";

/**
 * Inputs to probe a mask with: every integer, boolean or float input gets zeros and ones, mixed with the constants
 * that the graph compares it with (padding ids), or zeros and large negative numbers if it is added; in mixed ones at least one real token first in every row, as with
 * any tokenizer, so that no row is all padding. Single integers and vectors of them are lengths.
 */
export function drawInputs(
  context: AttentionContext,
  probe: GraphProbe,
  random: () => number,
  mode: DrawMode,
): Map<string, Tensor> {
  const feeds = new Map<string, Tensor>();
  for (const input of context.graph.root.inputs) {
    const shape = probe.info.get(input.name);
    if (shape === undefined || elementCount(shape.dims) > largestInput) continue;
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
  const compared = isBinary ? [] : comparedConstants(context, input.name);
  // Real tokens are none of the constants that padding is told by.
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
  const pool = compared.length === 0 ? [0, 1] : [...compared, ...compared.map((value) => value + 2), 3, 5];
  const values = Float64Array.from({ length: size }, () => pool[Math.floor(random() * pool.length)]!);
  const width = dims.at(-1) ?? 1;
  for (let at = 0; at < size && dims.length === 2; at += width) values[at] = real;
  return tensorOf(dataType, dims, values);
}

/** Whether an input is added to something as it is: a mask of 0 and of numbers far below, if it is a mask. */
function isAdded({ graph }: AttentionContext, input: string): boolean {
  const pending = [input];
  const seen = new Set(pending);
  for (let value = pending.pop(); value !== undefined && seen.size < longestWay; value = pending.pop()) {
    for (const node of graph.consumers(value)) {
      if (node.opType === "Add") return true;
      if (!leavesNumbers.has(node.opType) || node.input[0] !== value) continue;
      for (const output of node.output) if (!seen.has(output)) pending.push(output);
      for (const output of node.output) seen.add(output);
    }
  }
  return false;
}

/** Constants that an input is compared with directly or after a cast. */
function comparedConstants({ graph }: AttentionContext, input: string): number[] {
  const found = new Set<number>();
  const pending = [input];
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    for (const node of graph.consumers(value)) {
      if (node.opType === "Cast" || node.opType === "Identity") pending.push(...node.output);
      if (!["Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Sub"].includes(node.opType)) continue;
      for (const other of node.input) {
        const constant = other === value ? undefined : graph.constant(other);
        if (constant?.data.length === 1 && node.opType === "Equal") found.add(constant.data[0]!);
      }
    }
  }
  // 0 and 1 are what a mask holds anyway: an input compared with them alone is a mask.
  return [...found].every((value) => value === 0 || value === 1) && !found.has(1) ? [] : [...found];
}
