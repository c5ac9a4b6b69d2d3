import {
  checkPermutation,
  depthToSpace,
  padWidths,
  permutationOf,
  sliceRanges,
  spaceToDepth,
  splitLengths,
  tileRepeats,
  type Rearrangement,
} from "../../semantics/layout.ts";
import { shown, type OperatorCall, type OperatorTable } from "../call.ts";
import { axisView, stridesOf, takeStrided } from "../positions.ts";
import type { Tensor } from "../tensor.ts";
import { reshaped } from "./shape.ts";

/** `source` with its axes in the order `perm`. */
export function transposed(call: OperatorCall, source: Tensor, perm: readonly number[]): Tensor {
  checkPermutation(call, perm, source.dims);
  const strides = stridesOf(source.dims);
  return takeStrided(
    call,
    source,
    perm.map((axis) => source.dims[axis]!),
    perm.map((axis) => strides[axis]!),
  );
}

const transpose = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  return [transposed(call, source, permutationOf(call, source.dims))];
};

/** Joins tensors of one type along `axis` (not negative). */
export function concatenate(call: OperatorCall, parts: readonly Tensor[], axis: number): Tensor {
  const first = parts[0]!;
  const dims = [...first.dims];
  dims[axis] = 0;
  for (const part of parts) {
    const fits = part.dims.length === dims.length && part.dims.every((dim, i) => i === axis || dim === dims[i]);
    if (!fits || part.dataType !== first.dataType) {
      call.fail(`tensors of shape ${shown(first.dims)} and ${shown(part.dims)} cannot be joined along axis ${axis}`);
    }
    dims[axis] += part.dims[axis]!;
  }
  const data = call.data(dims, first.dataType);
  const { outer, length, inner } = axisView(dims, axis);
  let before = 0;
  for (const part of parts) {
    const run = part.dims[axis]! * inner;
    for (let block = 0; block < outer; block++) {
      data.set(part.data.subarray(block * run, (block + 1) * run), block * length * inner + before);
    }
    before += run;
  }
  return { dims, dataType: first.dataType, data };
}

const concat = (call: OperatorCall): Tensor[] => {
  const parts = call.present();
  return [concatenate(call, parts, call.axis(call.int("axis", 1), parts[0]!.dims.length))];
};

/** The part of `source` along `axis` from `start` to before `end`. */
export function sliceAxis(call: OperatorCall, source: Tensor, axis: number, start: number, end: number): Tensor {
  const dims = source.dims.map((dim, i) => (i === axis ? end - start : dim));
  const strides = stridesOf(source.dims);
  return takeStrided(call, source, dims, strides, start * strides[axis]!);
}

const split = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const { axis, lengths } = splitLengths(call, source.dims);
  let start = 0;
  return lengths.map((part) => {
    start += part;
    return sliceAxis(call, source, axis, start - part, start);
  });
};

const slice = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const dims = [...source.dims];
  const strides = stridesOf(source.dims);
  let offset = 0;
  for (const { axis, start, step, count } of sliceRanges(call, source.dims)) {
    dims[axis] = count;
    offset += start * strides[axis]!;
    strides[axis]! *= step;
  }
  return [takeStrided(call, source, dims, strides, offset)];
};

/** Repeats along every axis. Each axis is split into (repeat, dim), and the repeat has stride 0. */
const tile = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const repeats = tileRepeats(call, source.dims);
  const strides = stridesOf(source.dims);
  const tiled = takeStrided(
    call,
    source,
    source.dims.flatMap((dim, i) => [repeats[i]!, dim]),
    strides.flatMap((stride) => [0, stride]),
  );
  return [
    reshaped(
      call,
      tiled,
      source.dims.map((dim, i) => dim * repeats[i]!),
    ),
  ];
};

/** The source index that padding mode `mode` reads at `index`, which may lie outside [0, length); -1 for none. */
function paddedIndex(index: number, length: number, mode: string): number {
  if (index >= 0 && index < length) return index;
  if (mode === "constant" || length === 0) return -1;
  if (mode === "edge") return index < 0 ? 0 : length - 1;
  if (mode === "wrap") return index - length * Math.floor(index / length);
  if (length === 1) return 0;
  const period = 2 * (length - 1);
  const folded = index - period * Math.floor(index / period);
  return folded < length ? folded : period - folded;
}

const pad = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const rank = source.dims.length;
  const mode = call.string("mode", "constant");
  if (!["constant", "reflect", "edge", "wrap"].includes(mode)) throw call.unsupported(`mode ${mode} is not known`);
  const { before, after } = padWidths(call, source.dims);
  const fill = call.optional(2) === null ? call.float("value", 0) : call.scalar(2);
  const dims = source.dims.map((dim, axis) => dim + before[axis]! + after[axis]!);
  const data = call.data(dims, source.dataType);
  const strides = stridesOf(source.dims);
  const targetStrides = stridesOf(dims);
  for (let i = 0; i < data.length; i++) {
    let position = 0;
    for (let axis = 0; axis < rank && position >= 0; axis++) {
      const index = (Math.floor(i / targetStrides[axis]!) % dims[axis]!) - before[axis]!;
      const at = paddedIndex(index, source.dims[axis]!, mode);
      position = at < 0 ? -1 : position + at * strides[axis]!;
    }
    data[i] = position < 0 ? fill : source.data[position]!;
  }
  return [{ dims, dataType: source.dataType, data }];
};

const rearranging =
  (formOf: (call: OperatorCall, dims: readonly number[]) => Rearrangement) =>
  (call: OperatorCall): Tensor[] => {
    const { divided, perm, dims } = formOf(call, call.input(0).dims);
    return [reshaped(call, transposed(call, reshaped(call, call.input(0), divided), perm), dims)];
  };

/** Keeps one triangle of each matrix; the diagonal moves up by k. */
const trilu = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const upper = call.int("upper", 1) !== 0;
  const k = call.optional(1) === null ? 0 : call.scalar(1);
  const [rows = 1, columns = 1] = source.dims.slice(-2);
  const data = call.data(source.dims, source.dataType);
  for (let i = 0; i < data.length; i++) {
    const above = (i % columns) - (Math.floor(i / columns) % rows) - k;
    if (upper ? above >= 0 : above <= 0) data[i] = source.data[i]!;
  }
  return [{ dims: source.dims, dataType: source.dataType, data }];
};

/** Reverses the first sequence_lens[b] steps of each sequence. */
const reverseSequence = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const lengths = call.exact(1).data;
  const timeAxis = call.int("time_axis", 0);
  const strides = stridesOf(source.dims);
  const data = call.data(source.dims, source.dataType);
  const timeStride = strides[timeAxis]!;
  const batchAxis = call.int("batch_axis", 1);
  for (let i = 0; i < data.length; i++) {
    const time = Math.floor(i / timeStride) % source.dims[timeAxis]!;
    const length = lengths[Math.floor(i / strides[batchAxis]!) % source.dims[batchAxis]!]!;
    const at = time < length ? i + (length - 1 - 2 * time) * timeStride : i;
    data[i] = source.data[at]!;
  }
  return [{ dims: source.dims, dataType: source.dataType, data }];
};

/** Operators that move elements without looking at them. */
export const layoutOperators: OperatorTable = {
  Transpose: transpose,
  Concat: concat,
  Split: split,
  Slice: slice,
  Tile: tile,
  Pad: pad,
  DepthToSpace: rearranging(depthToSpace),
  SpaceToDepth: rearranging(spaceToDepth),
  Trilu: trilu,
  ReverseSequence: reverseSequence,
};
