import { DataType } from "@favor/onnx";
import { tensorOf } from "@favor/onnx/evaluate";
import {
  depthToSpace,
  padWidths,
  permutationOf,
  sliceRanges,
  spaceToDepth,
  splitLengths,
  tileRepeats,
  type Rearrangement,
} from "@favor/onnx/semantics";
import * as tf from "@tensorflow/tfjs-core";
import { shown, type Operator, type OperatorCall, type OperatorTable } from "../operator-call.ts";
import { padAxis, reversedAxis, sliceAxis, strided } from "./axis.ts";
import { pickedElements } from "./gathering.ts";
import { expanded, reshaped } from "./shape.ts";

/**
 * `source` with its axes in the order `perm`. Axes of 1 and axes that stay together count as one, because tfjs transposes
 * at most 6 axes, and fewer of them faster.
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
  return [transposed(source, permutationOf(call, source.shape))];
};

const concat: Operator = (call) => {
  const parts = call.variadic();
  const axis = call.axis(call.int("axis", 1), parts[0]!.rank);
  // Not every kernel takes empty parts (a key/value cache at the start).
  const filled = parts.filter((part) => part.size > 0);
  if (filled.length === 0) {
    const dims = [...parts[0]!.shape];
    dims[axis] = parts.reduce((length, part) => length + part.shape[axis]!, 0);
    return [tf.zeros(dims)];
  }
  return [filled.length === 1 ? filled[0]! : tf.concat(filled, axis)];
};

const split: Operator = (call) => {
  const source = call.device(0);
  const { axis, lengths } = splitLengths(call, source.shape);
  return tf.split(source, lengths, axis);
};

const slice: Operator = (call) => {
  const source = call.device(0);
  let result = source;
  for (const { axis, start, step, count } of sliceRanges(call, source.shape)) {
    // What the steps pass over, whole steps if there are as many: then nothing need be padded.
    const reach = Math.min(count * Math.abs(step), step > 0 ? source.shape[axis]! - start : start + 1);
    result = sliceAxis(result, axis, step > 0 ? start : start + 1 - reach, reach);
    if (step < 0) result = reversedAxis(result, axis);
    result = strided(result, axis, Math.abs(step));
  }
  return [result];
};

const tile: Operator = (call) => {
  const source = call.device(0);
  const repeats = tileRepeats(call, source.shape);
  return [repeats.every((count) => count === 1) ? source : tf.tile(source, repeats)];
};

const pad: Operator = (call) => {
  const source = call.device(0);
  const { before, after } = padWidths(call, source.shape);
  if (call.string("mode", "constant") !== "constant") return [pickedElements(call)];
  const value = call.has(2) ? call.scalar(2) : call.float("value", 0);
  let result = source;
  for (const [axis, dim] of source.shape.entries()) {
    const [first, last] = [before[axis]!, after[axis]!];
    const length = dim + Math.min(0, first) + Math.min(0, last);
    if (length < 0) call.fail(`pads ${shown([...before, ...after])} cut more than ${shown(source.shape)} has`);
    result = sliceAxis(result, axis, Math.max(0, -first), length);
    if (first > 0 || last > 0) result = padAxis(result, axis, Math.max(0, first), Math.max(0, last), value);
  }
  return [result];
};

const rearranging =
  (formOf: (call: OperatorCall, dims: readonly number[]) => Rearrangement): Operator =>
  (call) => {
    const { divided, perm, dims } = formOf(call, call.dims(0));
    return [reshaped(call, transposed(reshaped(call, call.device(0), divided), perm), dims)];
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
  DepthToSpace: rearranging(depthToSpace),
  SpaceToDepth: rearranging(spaceToDepth),
  Trilu: trilu,
  ReverseSequence: (call) => [pickedElements(call)],
};
