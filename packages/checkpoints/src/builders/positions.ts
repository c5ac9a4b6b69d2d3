import { DataType } from "@favor/onnx";
import type { GraphWriter } from "./graph-writer.ts";

/** The positions 0, 1, ... for `inputIds` [batch, sequence]: int64 [sequence]. */
export function tokenPositions(graph: GraphWriter, inputIds: string): string {
  const length = graph.op("Gather", [graph.op("Shape", [inputIds]), graph.integer(1)], { axis: { int: 0 } });
  return graph.op("Range", [graph.integer(0), length, graph.integer(1)]);
}

/**
 * RoBERTa's positions: padding has the position `padding`, and other tokens are counted from there. int64
 * [batch, sequence].
 */
export function positionsAfterPadding(graph: GraphWriter, inputIds: string, padding: number): string {
  const isPadding = graph.op("Equal", [inputIds, graph.integer(padding)]);
  const isToken = graph.op("Cast", [graph.op("Not", [isPadding])], { to: { int: DataType.INT64 } });
  const counted = graph.op("Mul", [graph.op("CumSum", [isToken, graph.integer(1)]), isToken]);
  return graph.op("Add", [counted, graph.integer(padding)]);
}

/** Cosines and sines of rotary positions, each [sequence, dim], with equal halves. */
export interface Rotation {
  readonly cosine: string;
  readonly sine: string;
}

/** Rotary embedding (2104.09864) in the form of GPT-NeoX: frequency i turns the elements i and i + dim/2. */
export function rotation(graph: GraphWriter, inputIds: string, frequencies: string): Rotation {
  const positions = graph.op("Cast", [tokenPositions(graph, inputIds)], { to: { int: DataType.FLOAT } });
  const angles = graph.op("Mul", [graph.op("Unsqueeze", [positions, graph.integers(1)]), frequencies]);
  const both = graph.op("Concat", [angles, angles], { axis: { int: -1 } });
  return { cosine: graph.op("Cos", [both]), sine: graph.op("Sin", [both]) };
}

/** base^(-2i/dim) for i below dim/2, as PyTorch computes them in float32. */
export function rotaryFrequencies(base: number, dim: number): Float32Array {
  return Float32Array.from({ length: dim / 2 }, (_, i) => 1 / Math.fround(base ** Math.fround((2 * i) / dim)));
}

/** x cos + rotate_half(x) sin, x [batch, heads, sequence, dim]. */
export function rotate(graph: GraphWriter, x: string, { cosine, sine }: Rotation): string {
  const [first, second] = graph.ops("Split", [x], 2, { axis: { int: -1 } }) as [string, string];
  const turned = graph.op("Concat", [graph.op("Neg", [second]), first], { axis: { int: -1 } });
  return graph.op("Add", [graph.op("Mul", [x, cosine]), graph.op("Mul", [turned, sine])]);
}
