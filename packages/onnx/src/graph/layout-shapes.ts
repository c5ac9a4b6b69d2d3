import { elementCount } from "../evaluate/tensor.ts";
import { DataType } from "../model/proto.ts";
import {
  depthToSpace as depthToSpaceOf,
  padWidths,
  permutationOf,
  sliceRanges,
  spaceToDepth as spaceToDepthOf,
  splitLengths,
  tileRepeats,
} from "../semantics/layout.ts";
import { shown } from "../semantics/node-call.ts";
import { expandedDims, flattenedDims, reshapedDims, squeezedDims, unsqueezedDims } from "../semantics/shapes.ts";
import type { ShapeFunction } from "./shape-call.ts";
import { ShapeConflict, type ShapeInfo } from "./shape-info.ts";
import { giveUp } from "./unknown.ts";

// Shapes that operators make which move, repeat, cut, join or pick elements.

/** `data` in another shape. */
const moved = (data: ShapeInfo, dims: readonly number[]): ShapeInfo[] => [{ dims, dataType: data.dataType }];

/** `dims` with another size at one axis; a scalar has none. */
const resized = (dims: readonly number[], axis: number, size: number): number[] =>
  dims.map((dim, i) => (i === axis ? size : dim));

export const gather: ShapeFunction = (call) => {
  const [data, indices] = [call.input(0), call.input(1)];
  const axis = call.axis(call.int("axis", 0), data.dims.length);
  return moved(data, [...data.dims.slice(0, axis), ...indices.dims, ...data.dims.slice(axis + 1)]);
};

export const gatherND: ShapeFunction = (call) => {
  const [data, indices] = [call.input(0), call.input(1)];
  const depth = indices.dims.at(-1)!;
  return moved(data, [...indices.dims.slice(0, -1), ...data.dims.slice(call.int("batch_dims", 0) + depth)]);
};

export const reshape: ShapeFunction = (call) => {
  const data = call.input(0);
  const target = call.integersOr(1, "shape") ?? giveUp();
  const dims = reshapedDims(call, data.dims);
  if (elementCount(dims) !== elementCount(data.dims) || !dims.every((dim) => Number.isInteger(dim))) {
    const wanted = target.filter((dim) => dim > 1);
    throw new ShapeConflict(call.node, `cannot reshape ${shown(data.dims)} to ${shown(target)}`, wanted);
  }
  return moved(data, dims);
};

export const transpose: ShapeFunction = (call) => {
  const data = call.input(0);
  const perm = permutationOf(call, data.dims);
  return moved(
    data,
    perm.map((from) => data.dims[from]!),
  );
};

export const squeeze: ShapeFunction = (call) => {
  const data = call.input(0);
  return moved(data, squeezedDims(call, data.dims));
};

export const unsqueeze: ShapeFunction = (call) => {
  const data = call.input(0);
  return moved(data, unsqueezedDims(call, data.dims));
};

export const expand: ShapeFunction = (call) => {
  const data = call.input(0);
  return moved(data, expandedDims(call, data.dims));
};

export const slice: ShapeFunction = (call) => {
  const data = call.input(0);
  const dims = [...data.dims];
  for (const { axis, count } of sliceRanges(call, data.dims)) dims[axis] = count;
  return moved(data, dims);
};

export const split: ShapeFunction = (call) => {
  const data = call.input(0);
  const { axis, lengths } = splitLengths(call, data.dims);
  return call.node.output.flatMap((_, i) => moved(data, resized(data.dims, axis, lengths[i]!)));
};

export const concat: ShapeFunction = (call) => {
  const parts = call.inputs.map((_, i) => call.input(i));
  const head = parts[0] ?? giveUp();
  const axis = call.axis(call.int("axis", 0), head.dims.length);
  const total = parts.reduce((sum, { dims }) => sum + (dims[axis] ?? 0), 0);
  return moved(head, resized(head.dims, axis, total));
};

export const flatten: ShapeFunction = (call) => {
  const data = call.input(0);
  return moved(data, flattenedDims(call, data.dims));
};

export const constantOfShape: ShapeFunction = (call) => {
  const dims = call.integers(0) ?? giveUp();
  return [{ dims, dataType: call.attribute("value")?.t?.dataType ?? DataType.FLOAT }];
};

export const range: ShapeFunction = (call) => {
  const [start, limit, delta] = [0, 1, 2].map((index) => call.integers(index)?.[0] ?? giveUp()) as [
    number,
    number,
    number,
  ];
  return moved(call.input(0), [Math.max(0, Math.ceil((limit - start) / delta))]);
};

export const tile: ShapeFunction = (call) => {
  const data = call.input(0);
  const repeats = tileRepeats(call, data.dims);
  return moved(
    data,
    data.dims.map((dim, i) => dim * repeats[i]!),
  );
};

export const pad: ShapeFunction = (call) => {
  const data = call.input(0);
  const { before, after } = padWidths(call, data.dims);
  return moved(
    data,
    data.dims.map((dim, i) => dim + before[i]! + after[i]!),
  );
};

export const oneHot: ShapeFunction = (call) => {
  const [indices, values] = [call.input(0), call.input(2)];
  const depth = call.integers(1)?.[0] ?? giveUp();
  const axis = call.axis(call.int("axis", -1), indices.dims.length + 1);
  return moved(values, indices.dims.toSpliced(axis, 0, depth));
};

export const topK: ShapeFunction = (call) => {
  const data = call.input(0);
  const count = call.integers(1)?.[0] ?? call.int("k") ?? giveUp();
  const dims = resized(data.dims, call.axis(call.int("axis", -1), data.dims.length), count);
  return [
    { dims, dataType: data.dataType },
    { dims, dataType: DataType.INT64 },
  ];
};

export const indexed: ShapeFunction = (call) => moved(call.input(0), call.input(1).dims);

export const depthToSpace: ShapeFunction = (call) => {
  const data = call.input(0);
  if (data.dims.length !== 4) return undefined;
  const rearranged = call.node.opType === "DepthToSpace" ? depthToSpaceOf : spaceToDepthOf;
  return moved(data, rearranged(call, data.dims).dims);
};

/** Resize and the older Upsample: sizes, or scales of the axes named. */
export const resize: ShapeFunction = (call) => {
  const { node, inputs } = call;
  const data = call.input(0);
  const [scaleAt, sizeAt] = node.opType === "Upsample" || inputs.length === 2 ? [1, -1] : [2, 3];
  const scales = inputs[scaleAt]?.value?.data;
  const sizes = inputs[sizeAt]?.value?.data;
  const axes = call.ints("axes")?.map((axis) => call.axis(axis, data.dims.length)) ?? data.dims.map((_, i) => i);
  const given = sizes?.length === axes.length ? sizes : scales;
  if (given?.length !== axes.length) return undefined;
  const dims = [...data.dims];
  axes.forEach((axis, i) => (dims[axis] = given === sizes ? given[i]! : Math.floor(dims[axis]! * given[i]!)));
  return moved(data, dims);
};

/** [N, C, D..] sampled at a grid [N, out.., dims]. */
export const gridSample: ShapeFunction = (call) => {
  const [data, grid] = [call.input(0), call.input(1)];
  return moved(data, [...data.dims.slice(0, 2), ...grid.dims.slice(1, -1)]);
};

/** Regions [R, 4] of images [N, C, H, W], each of one size: [R, C, height, width]. */
export const roiAlign: ShapeFunction = (call) => {
  const [data, regions] = [call.input(0), call.input(1)];
  return moved(data, [regions.dims[0]!, data.dims[1]!, call.int("output_height", 1), call.int("output_width", 1)]);
};
