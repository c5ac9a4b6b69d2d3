import { DataType, tensorOf } from "@favor/onnx";
import * as tf from "@tensorflow/tfjs";
import { shown, type Operator, type OperatorCall, type OperatorTable } from "../operator-call.ts";
import { padAxis, reversedAxis, sliceAxis, strided } from "./axis.ts";
import { pickedElements } from "./gathering.ts";
import { expanded, reshaped } from "./shape.ts";

/**
 * `source` with its axes in the order `perm`. Axes of 1 and axes that stay together count as one, for tfjs transposes
 * up to 6 axes, and few of them faster.
 */
export function transposed(source: tf.Tensor, perm: readonly number[]): tf.Tensor {
  const dims = perm.map((axis) => source.shape[axis]!);
  const groups: number[][] = [];
  for (const axis of perm) {
    if (source.shape[axis] === 1) continue;
    const last = groups.at(-1);
    const next = last === undefined ? -1 : nextLongAxis(source.shape, last.at(-1)!);
    if (last !== undefined && next === axis) last.push(axis);
    else groups.push([axis]);
  }
  const inOrder = groups.toSorted((a, b) => a[0]! - b[0]!);
  const moves = groups.map((group) => inOrder.indexOf(group));
  if (moves.every((to, i) => to === i)) return tf.reshape(source, dims);
  const merged = inOrder.map((group) => group.reduce((size, axis) => size * source.shape[axis]!, 1));
  return tf.reshape(tf.transpose(tf.reshape(source, merged), moves), dims);
}

function nextLongAxis(dims: readonly number[], axis: number): number {
  return dims.findIndex((dim, i) => i > axis && dim !== 1);
}

const transpose: Operator = (call) => {
  const source = call.device(0);
  const rank = source.rank;
  const perm = call.ints("perm") ?? source.shape.map((_, i) => rank - 1 - i);
  if (perm.length !== rank || perm.some((axis) => !(axis >= 0 && axis < rank)) || new Set(perm).size !== rank) {
    call.fail(`perm ${shown(perm)} is no permutation of the axes of ${shown(source.shape)}`);
  }
  return [transposed(source, perm)];
};

const concat: Operator = (call) => {
  const parts = call.variadic();
  const axis = call.axis(call.int("axis", 1), parts[0]!.rank);
  // Empty parts (a key/value cache at the start) are not for every kernel.
  const filled = parts.filter((part) => part.size > 0);
  if (filled.length === 0) {
    const dims = [...parts[0]!.shape];
    dims[axis] = parts.reduce((length, part) => length + part.shape[axis]!, 0);
    return [tf.zeros(dims)];
  }
  return [filled.length === 1 ? filled[0]! : tf.concat(filled, axis)];
};

/** Lengths from the attribute (before opset 13), the input, or equal: the last is smaller with num_outputs (18). */
const split: Operator = (call) => {
  const source = call.device(0);
  const axis = call.axis(call.int("axis", 0), source.rank);
  const length = source.shape[axis]!;
  const count = call.node.output.length;
  if (call.int("num_outputs", count) !== count) call.fail(`num_outputs is not ${count}, the number of its outputs`);
  const each = Math.ceil(length / count);
  const lengths =
    call.integersOr(1, "split") ??
    Array.from({ length: count }, (_, i) => Math.max(0, Math.min(each, length - i * each)));
  if (lengths.some((part) => part < 0) || lengths.reduce((a, b) => a + b, 0) !== length) {
    call.fail(`lengths ${shown(lengths)} do not add up to dimension ${axis} of ${shown(source.shape)}`);
  }
  return tf.split(source, lengths, axis);
};

/**
 * Python's slices: negative bounds count from the end, then everything is clamped, so that INT64_MAX and INT64_MIN
 * mean "to the end". Bounds are attributes before opset 10, inputs since.
 */
const slice: Operator = (call) => {
  let result = call.device(0);
  const { rank } = result;
  const starts = call.integersOr(1, "starts") ?? call.fail("starts are required");
  const ends = call.integersOr(2, "ends") ?? call.fail("ends are required");
  const axes = call.integersOr(3, "axes") ?? starts.map((_, i) => i);
  const steps = call.integers(4) ?? starts.map(() => 1);
  if (ends.length !== starts.length || axes.length !== starts.length || steps.length !== starts.length) {
    call.fail("starts, ends, axes and steps differ in length");
  }
  for (const [i, given] of axes.entries()) {
    const axis = call.axis(given, rank);
    const step = steps[i]!;
    if (step === 0) call.fail("a step is 0");
    const length = result.shape[axis]!;
    const bound = (at: number, low: number, high: number): number =>
      Math.min(Math.max(at < 0 ? at + length : at, low), high);
    const [start, end] =
      step > 0
        ? [bound(starts[i]!, 0, length), bound(ends[i]!, 0, length)]
        : [bound(ends[i]!, -1, length - 1) + 1, bound(starts[i]!, -1, length - 1) + 1];
    result = sliceAxis(result, axis, start, Math.max(0, end - start));
    if (step < 0) result = reversedAxis(result, axis);
    result = strided(result, axis, Math.abs(step));
  }
  return [result];
};

const tile: Operator = (call) => {
  const source = call.device(0);
  const repeats = call.integers(1) ?? call.fail("repeats are required");
  if (repeats.length !== source.rank) call.fail(`it has ${repeats.length} repeats for ${shown(source.shape)}`);
  return [repeats.every((count) => count === 1) ? source : tf.tile(source, repeats)];
};

/** Pads are an attribute before opset 11; negative ones cut. */
const pad: Operator = (call) => {
  const source = call.device(0);
  const given = call.integersOr(1, "pads") ?? call.fail("pads are required");
  const axes = call.integers(3)?.map((axis) => call.axis(axis, source.rank)) ?? source.shape.map((_, i) => i);
  if (given.length !== 2 * axes.length) call.fail(`it has ${given.length} pads for ${axes.length} axes`);
  if (call.string("mode", "constant") !== "constant") return [pickedElements(call)];
  const value = call.has(2) ? call.scalar(2) : call.float("value", 0);
  let result = source;
  for (const [i, axis] of axes.entries()) {
    const [before, after] = [given[i]!, given[i + axes.length]!];
    const length = result.shape[axis]! + Math.min(0, before) + Math.min(0, after);
    if (length < 0) call.fail(`pads ${shown(given)} cut more than ${shown(source.shape)} has`);
    result = sliceAxis(result, axis, Math.max(0, -before), length);
    if (before > 0 || after > 0) result = padAxis(result, axis, Math.max(0, before), Math.max(0, after), value);
  }
  return [result];
};

/** Reshape, Transpose, Reshape: what DepthToSpace and SpaceToDepth are. */
function rearranged(
  call: OperatorCall,
  divided: readonly number[],
  perm: readonly number[],
  dims: readonly number[],
): tf.Tensor[] {
  return [reshaped(call, transposed(reshaped(call, call.device(0), divided), perm), dims)];
}

const depthToSpace: Operator = (call) => {
  const [n = 0, c = 0, h = 0, w = 0] = call.dims(0);
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

const spaceToDepth: Operator = (call) => {
  const [n = 0, c = 0, h = 0, w = 0] = call.dims(0);
  const b = call.int("blocksize", 1);
  const perm = call.string("mode", "DCR") === "CRD" ? [0, 1, 3, 5, 2, 4] : [0, 3, 5, 1, 2, 4];
  return rearranged(call, [n, c, h / b, b, w / b, b], perm, [n, c * b * b, h / b, w / b]);
};

/** Keeps one triangle of each matrix; the diagonal moves up by k. */
const trilu: Operator = (call) => {
  const source = call.device(0);
  const upper = call.int("upper", 1) !== 0;
  const k = call.has(1) ? call.scalar(1) : 0;
  const [rows = 1, columns = 1] = source.shape.slice(-2);
  const kept = Float64Array.from({ length: rows * columns }, (_, i) => {
    const above = (i % columns) - Math.floor(i / columns) - k;
    return Number(upper ? above >= 0 : above <= 0);
  });
  const mask = call.onDevice(tensorOf(DataType.BOOL, [rows, columns], kept));
  return [tf.where(expanded(mask, source.shape), source, tf.zerosLike(source))];
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
  ReverseSequence: (call) => [pickedElements(call)],
};
