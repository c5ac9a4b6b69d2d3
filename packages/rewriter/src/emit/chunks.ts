import type { NodeBuilder } from "@favor/onnx/graph";

/** Positions per chunk: intra-chunk work costs chunk x M, states cost M x valueDim / chunk for each position. */
const chunkLength = 64;

/** A sequence cut into chunks. All are lists of one integer. */
export interface Chunks {
  readonly build: NodeBuilder;
  readonly length: string;
  /** Number of chunks, their length, and the padding at the end. */
  readonly chunks: string;
  readonly chunk: string;
  readonly extra: string;
}

/** Cuts a sequence into chunks of 64 positions; one that is shorter is one chunk without padding. */
export function cutSequence(build: NodeBuilder, length: string): Chunks {
  const one = build.integers([1]);
  // An empty sequence is one chunk of padding.
  const whole = build.extreme("Max", [length, one]);
  const chunk = build.extreme("Min", [whole, build.integers([chunkLength])]);
  const chunks = build.op("Div", [build.op("Sub", [build.op("Add", [whole, chunk]), one]), chunk]);
  const extra = build.op("Sub", [build.op("Mul", [chunks, chunk]), length]);
  return { build, length, chunks, chunk, extra };
}

/** [batch, heads, length, width] to [batch, heads, chunks, chunk, width]. */
export function cutRows({ build, chunks, chunk, extra }: Chunks, value: string): string {
  const padded = pad(build, value, 2, extra, 0);
  const shape = build.op("Shape", [value]);
  const outer = build.slice(shape, 0, 0, 2);
  return build.op("Reshape", [padded, build.concat([outer, chunks, chunk, build.slice(shape, 0, 3, 4)], 0)]);
}

/** [batch, heads, width, length] to [batch, heads, chunks, width, chunk]. */
export function cutColumns({ build, chunks, chunk, extra }: Chunks, value: string, filler: number): string {
  const padded = pad(build, value, 3, extra, filler);
  const outer = build.slice(build.op("Shape", [value]), 0, 0, 3);
  const cut = build.op("Reshape", [padded, build.concat([outer, chunks, chunk], 0)]);
  return build.transpose(cut, [0, 1, 3, 2, 4]);
}

/** [batch, heads, chunks, chunk, width] to [batch, heads, length, width]. */
export function joinRows({ build, length, chunks, chunk }: Chunks, value: string): string {
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
export function lowerTriangle(build: NodeBuilder, chunk: string): string {
  const positions = build.range(chunk);
  return build.op("Not", [build.op("Less", [build.unsqueeze(positions, [1]), build.unsqueeze(positions, [0])])]);
}
