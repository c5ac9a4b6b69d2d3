import { shown, type OperatorCall, type OperatorTable } from "../call.ts";
import { axisView, stridesOf, takeStrided } from "../positions.ts";
import type { Tensor } from "../tensor.ts";
import { reshaped } from "./shape.ts";

/** `source` with its axes in the order `perm`. */
export function transposed(call: OperatorCall, source: Tensor, perm: readonly number[]): Tensor {
  const rank = source.dims.length;
  if (perm.length !== rank || perm.some((axis) => !(axis >= 0 && axis < rank)) || new Set(perm).size !== rank) {
    call.fail(`perm ${shown(perm)} is no permutation of the axes of ${shown(source.dims)}`);
  }
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
  const reversed = source.dims.map((_, i) => source.dims.length - 1 - i);
  return [transposed(call, source, call.ints("perm") ?? reversed)];
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
  const parts = call.variadic();
  return [concatenate(call, parts, call.axis(call.int("axis", 1), parts[0]!.dims.length))];
};

/** The part of `source` along `axis` from `start` to before `end`. */
export function sliceAxis(call: OperatorCall, source: Tensor, axis: number, start: number, end: number): Tensor {
  const dims = source.dims.map((dim, i) => (i === axis ? end - start : dim));
  const strides = stridesOf(source.dims);
  return takeStrided(call, source, dims, strides, start * strides[axis]!);
}

/** Lengths from the attribute (before opset 13), the input, or equal: the last is smaller with num_outputs (18). */
const split = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const axis = call.axis(call.int("axis", 0), source.dims.length);
  const length = source.dims[axis]!;
  const given = call.integersOr(1, "split");
  const count = call.node.output.length;
  if (call.int("num_outputs", count) !== count) call.fail(`num_outputs is not ${count}, the number of its outputs`);
  const each = Math.ceil(length / count);
  const lengths = given ?? Array.from({ length: count }, (_, i) => Math.max(0, Math.min(each, length - i * each)));
  if (lengths.some((part) => part < 0) || lengths.reduce((a, b) => a + b, 0) !== length) {
    call.fail(`lengths ${shown(lengths)} do not add up to dimension ${axis} of ${shown(source.dims)}`);
  }
  let start = 0;
  return lengths.map((part) => {
    start += part;
    return sliceAxis(call, source, axis, start - part, start);
  });
};

/**
 * Python's slices: negative bounds count from the end, then everything is clamped, so that INT64_MAX and INT64_MIN
 * mean "to the end". Bounds are attributes before opset 10, inputs since.
 */
const slice = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const rank = source.dims.length;
  const starts = call.integersOr(1, "starts") ?? call.fail("starts are required");
  const ends = call.integersOr(2, "ends") ?? call.fail("ends are required");
  const axes = call.integersOr(3, "axes") ?? starts.map((_, i) => i);
  const steps = call.integers(4) ?? starts.map(() => 1);
  if (ends.length !== starts.length || axes.length !== starts.length || steps.length !== starts.length) {
    call.fail("starts, ends, axes and steps differ in length");
  }
  const dims = [...source.dims];
  const strides = stridesOf(source.dims);
  let offset = 0;
  for (const [i, given] of axes.entries()) {
    const axis = call.axis(given, rank);
    const step = steps[i]!;
    if (step === 0) call.fail("a step is 0");
    const length = source.dims[axis]!;
    const bound = (at: number, low: number, high: number) => Math.min(Math.max(at < 0 ? at + length : at, low), high);
    const start = step > 0 ? bound(starts[i]!, 0, length) : bound(starts[i]!, 0, length - 1);
    const end = step > 0 ? bound(ends[i]!, 0, length) : bound(ends[i]!, -1, length - 1);
    dims[axis] = Math.max(0, Math.ceil((end - start) / step));
    offset += start * strides[axis]!;
    strides[axis]! *= step;
  }
  return [takeStrided(call, source, dims, strides, offset)];
};

/** Repeats along every axis: each axis is split into (repeat, dim), the repeat with stride 0. */
const tile = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const repeats = call.integers(1) ?? call.fail("repeats are required");
  if (repeats.length !== source.dims.length) call.fail(`it has ${repeats.length} repeats for ${shown(source.dims)}`);
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

/** Pads (or crops, where negative); bounds are attributes before opset 11, inputs since, with axes from 18 on. */
const pad = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const rank = source.dims.length;
  const mode = call.string("mode", "constant");
  if (!["constant", "reflect", "edge", "wrap"].includes(mode)) throw call.unsupported(`mode ${mode} is not known`);
  const given = call.integersOr(1, "pads") ?? call.fail("pads are required");
  const axes = call.integers(3)?.map((axis) => call.axis(axis, rank)) ?? source.dims.map((_, i) => i);
  if (given.length !== 2 * axes.length) call.fail(`it has ${given.length} pads for ${axes.length} axes`);
  const fill = call.optional(2) === null ? call.float("value", 0) : call.scalar(2);
  const before = source.dims.map(() => 0);
  const dims = [...source.dims];
  for (const [i, axis] of axes.entries()) {
    before[axis] = given[i]!;
    dims[axis]! += given[i]! + given[i + axes.length]!;
  }
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

/** Reshape, Transpose, Reshape: what DepthToSpace and SpaceToDepth are. */
function rearranged(
  call: OperatorCall,
  divided: readonly number[],
  perm: readonly number[],
  dims: readonly number[],
): Tensor[] {
  return [reshaped(call, transposed(call, reshaped(call, call.input(0), divided), perm), dims)];
}

const depthToSpace = (call: OperatorCall): Tensor[] => {
  const [n = 0, c = 0, h = 0, w = 0] = call.input(0).dims;
  const b = call.int("blocksize", 1);
  const columnMajor = call.string("mode", "DCR") === "CRD";
  const depth = c / (b * b);
  return rearranged(
    call,
    columnMajor ? [n, depth, b, b, h, w] : [n, b, b, depth, h, w],
    columnMajor ? [0, 1, 4, 2, 5, 3] : [0, 3, 4, 1, 5, 2],
    [n, depth, h * b, w * b],
  );
};

const spaceToDepth = (call: OperatorCall): Tensor[] => {
  const [n = 0, c = 0, h = 0, w = 0] = call.input(0).dims;
  const b = call.int("blocksize", 1);
  const perm = call.string("mode", "DCR") === "CRD" ? [0, 1, 3, 5, 2, 4] : [0, 3, 5, 1, 2, 4];
  return rearranged(call, [n, c, h / b, b, w / b, b], perm, [n, c * b * b, h / b, w / b]);
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

/** The first sequence_lens[b] steps of each sequence, backwards. */
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
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
  Trilu: trilu,
  ReverseSequence: reverseSequence,
};
