import { elementCount } from "../evaluate/tensor.ts";
import { DataType } from "../model/proto.ts";
import { intAttribute, intsAttribute } from "./node.ts";
import { axisOf, broadcast, integers, ShapeConflict, type ShapeFunction } from "./shape-info.ts";

// Shapes that operators make which move, repeat, cut, join or pick elements.

export const gather: ShapeFunction = ({ node, inputs: [data, indices] }) => {
  if (!data || !indices) return undefined;
  const axis = axisOf(intAttribute(node, "axis", 0), data.dims.length);
  const dims = [...data.dims.slice(0, axis), ...indices.dims, ...data.dims.slice(axis + 1)];
  return [{ dims, dataType: data.dataType }];
};

export const gatherND: ShapeFunction = ({ node, inputs: [data, indices] }) => {
  if (!data || !indices) return undefined;
  const batch = intAttribute(node, "batch_dims", 0);
  const depth = indices.dims.at(-1)!;
  return [{ dims: [...indices.dims.slice(0, -1), ...data.dims.slice(batch + depth)], dataType: data.dataType }];
};

export const reshape: ShapeFunction = ({ node, inputs: [data, shape] }) => {
  const target = shape?.value ? Array.from(shape.value.data) : intsAttribute(node, "shape");
  if (!data || target === undefined) return undefined;
  const allowZero = intAttribute(node, "allowzero", 0) === 1;
  const dims = target.map((dim, i) => (dim === 0 && !allowZero ? (data.dims[i] ?? 0) : dim));
  const unknown = dims.indexOf(-1);
  const have = elementCount(data.dims);
  if (unknown >= 0) dims[unknown] = have / elementCount(dims.filter((_, i) => i !== unknown));
  if (elementCount(dims) !== have || !dims.every((dim) => Number.isInteger(dim))) {
    throw new ShapeConflict(
      node,
      `cannot reshape [${data.dims.join(", ")}] to [${target.join(", ")}]`,
      target.filter((dim) => dim > 1),
    );
  }
  return [{ dims, dataType: data.dataType }];
};

export const transpose: ShapeFunction = ({ node, inputs: [data] }) => {
  if (!data) return undefined;
  const perm = intsAttribute(node, "perm") ?? data.dims.map((_, i) => data.dims.length - 1 - i);
  return [{ dims: perm.map((from) => data.dims[from]!), dataType: data.dataType }];
};

export const squeeze: ShapeFunction = (call) => {
  const data = call.inputs[0];
  const axes = integers(call, 1, "axes");
  if (!data || axes === "unknown") return undefined;
  const dropped = axes && new Set(axes.map((axis) => axisOf(axis, data.dims.length)));
  const dims = data.dims.filter((dim, i) => (dropped ? !dropped.has(i) : dim !== 1));
  return [{ dims, dataType: data.dataType }];
};

export const unsqueeze: ShapeFunction = (call) => {
  const data = call.inputs[0];
  const axes = integers(call, 1, "axes");
  if (!data || axes === "unknown" || axes === undefined) return undefined;
  const rank = data.dims.length + axes.length;
  const added = new Set(axes.map((axis) => axisOf(axis, rank)));
  let from = 0;
  const dims = Array.from({ length: rank }, (_, i) => (added.has(i) ? 1 : data.dims[from++]!));
  return [{ dims, dataType: data.dataType }];
};

export const expand: ShapeFunction = ({ node, inputs: [data, shape] }) => {
  if (!data || !shape?.value) return undefined;
  return [{ dims: broadcast(node, [data.dims, Array.from(shape.value.data)]), dataType: data.dataType }];
};

export const slice: ShapeFunction = (call) => {
  const data = call.inputs[0];
  const [starts, ends, axes, steps] = ["starts", "ends", "axes", "steps"].map((name, i) => integers(call, i + 1, name));
  if (!data || !Array.isArray(starts) || !Array.isArray(ends) || axes === "unknown" || steps === "unknown") {
    return undefined;
  }
  const dims = [...data.dims];
  starts.forEach((start, i) => {
    const axis = axisOf(axes?.[i] ?? i, dims.length);
    const step = steps?.[i] ?? 1;
    const length = data.dims[axis]!;
    const clamp = (at: number, low: number, high: number): number =>
      Math.min(Math.max(at < 0 ? at + length : at, low), high);
    const [from, to] =
      step > 0
        ? [clamp(start, 0, length), clamp(ends[i]!, 0, length)]
        : [clamp(start, 0, length - 1), clamp(ends[i]!, -1, length - 1)];
    dims[axis] = Math.max(0, Math.ceil((to - from) / step));
  });
  return [{ dims, dataType: data.dataType }];
};

export const split: ShapeFunction = (call) => {
  const { node } = call;
  const data = call.inputs[0];
  const sizes = integers(call, 1, "split");
  if (!data || sizes === "unknown") return undefined;
  const axis = axisOf(intAttribute(node, "axis", 0), data.dims.length);
  const parts = node.output.length;
  const length = data.dims[axis]!;
  const chunk = Math.ceil(length / parts);
  return node.output.map((_, i) => {
    const size = sizes?.[i] ?? Math.min(chunk, length - i * chunk);
    return { dims: data.dims.map((dim, at) => (at === axis ? size : dim)), dataType: data.dataType };
  });
};

export const concat: ShapeFunction = ({ node, inputs }) => {
  if (inputs.length === 0 || inputs.some((info) => info === undefined)) return undefined;
  const head = inputs[0]!;
  const axis = axisOf(intAttribute(node, "axis", 0), head.dims.length);
  const total = inputs.reduce((sum, info) => sum + (info!.dims[axis] ?? 0), 0);
  return [{ dims: head.dims.map((dim, i) => (i === axis ? total : dim)), dataType: head.dataType }];
};

export const flatten: ShapeFunction = ({ node, inputs: [data] }) => {
  if (!data) return undefined;
  const axis = axisOf(intAttribute(node, "axis", 1), data.dims.length);
  const dims = [elementCount(data.dims.slice(0, axis)), elementCount(data.dims.slice(axis))];
  return [{ dims, dataType: data.dataType }];
};

export const constantOfShape: ShapeFunction = ({ node, inputs: [shape] }) => {
  if (!shape?.value) return undefined;
  const type = node.attribute.find(({ name }) => name === "value")?.t?.dataType ?? DataType.FLOAT;
  return [{ dims: Array.from(shape.value.data), dataType: type }];
};

export const range: ShapeFunction = ({ inputs: [start, limit, delta] }) => {
  const values = [start, limit, delta].map((info) => info?.value?.data[0]);
  if (values.some((value) => value === undefined)) return undefined;
  const count = Math.max(0, Math.ceil((values[1]! - values[0]!) / values[2]!));
  return [{ dims: [count], dataType: start!.dataType }];
};

export const tile: ShapeFunction = ({ inputs: [data, repeats] }) =>
  data &&
  repeats?.value && [{ dims: data.dims.map((dim, i) => dim * repeats.value!.data[i]!), dataType: data.dataType }];

export const pad: ShapeFunction = (call) => {
  const data = call.inputs[0];
  const pads = integers(call, 1, "pads");
  const axes = call.inputs[3]?.value ? Array.from(call.inputs[3].value.data) : undefined;
  if (!data || !Array.isArray(pads)) return undefined;
  const dims = [...data.dims];
  const padded = axes ?? dims.map((_, i) => i);
  padded.forEach((axis, i) => {
    const at = axisOf(axis, dims.length);
    dims[at] = dims[at]! + pads[i]! + pads[i + padded.length]!;
  });
  return [{ dims, dataType: data.dataType }];
};

export const oneHot: ShapeFunction = ({ node, inputs: [indices, depth, values] }) => {
  if (!indices || !values || !depth?.value) return undefined;
  const dims = [...indices.dims];
  dims.splice(axisOf(intAttribute(node, "axis", -1), dims.length + 1), 0, depth.value.data[0]!);
  return [{ dims, dataType: values.dataType }];
};

export const topK: ShapeFunction = ({ node, inputs: [data, k] }) => {
  const count = k?.value?.data[0] ?? intAttribute(node, "k");
  if (!data || count === undefined) return undefined;
  const axis = axisOf(intAttribute(node, "axis", -1), data.dims.length);
  const dims = data.dims.map((dim, i) => (i === axis ? count : dim));
  return [
    { dims, dataType: data.dataType },
    { dims, dataType: DataType.INT64 },
  ];
};

export const indexed: ShapeFunction = ({ inputs: [data, indices] }) =>
  data && indices && [{ dims: indices.dims, dataType: data.dataType }];

export const depthToSpace: ShapeFunction = ({ node, inputs: [data] }) => {
  if (!data || data.dims.length !== 4) return undefined;
  const block = intAttribute(node, "blocksize", 1);
  const [n, c, h, w] = data.dims as [number, number, number, number];
  return node.opType === "DepthToSpace"
    ? [{ dims: [n, c / block ** 2, h * block, w * block], dataType: data.dataType }]
    : [{ dims: [n, c * block ** 2, h / block, w / block], dataType: data.dataType }];
};

/** Resize and the older Upsample: sizes, or scales of the axes named. */
export const resize: ShapeFunction = ({ node, inputs }) => {
  const data = inputs[0];
  if (!data) return undefined;
  const [scaleAt, sizeAt] = node.opType === "Upsample" || inputs.length === 2 ? [1, -1] : [2, 3];
  const scales = inputs[scaleAt]?.value?.data;
  const sizes = sizeAt < 0 ? undefined : inputs[sizeAt]?.value?.data;
  const axes = intsAttribute(node, "axes")?.map((axis) => axisOf(axis, data.dims.length)) ?? data.dims.map((_, i) => i);
  const given = sizes?.length === axes.length ? sizes : scales;
  if (given?.length !== axes.length) return undefined;
  const dims = [...data.dims];
  axes.forEach((axis, i) => (dims[axis] = given === sizes ? given[i]! : Math.floor(dims[axis]! * given[i]!)));
  return [{ dims, dataType: data.dataType }];
};

/** [N, C, D..] sampled at a grid [N, out.., dims]. */
export const gridSample: ShapeFunction = ({ inputs: [data, grid] }) =>
  data && grid && [{ dims: [...data.dims.slice(0, 2), ...grid.dims.slice(1, -1)], dataType: data.dataType }];

/** Regions [R, 4] of images [N, C, H, W], each of one size: [R, C, height, width]. */
export const roiAlign: ShapeFunction = ({ node, inputs: [data, regions] }) => {
  if (!data || !regions) return undefined;
  const size = [intAttribute(node, "output_height", 1), intAttribute(node, "output_width", 1)];
  return [{ dims: [regions.dims[0]!, data.dims[1]!, ...size], dataType: data.dataType }];
};
