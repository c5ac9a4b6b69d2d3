import { DataType } from "../model/proto.ts";
import { intAttribute } from "./node.ts";
import * as layout from "./layout-shapes.ts";
import { broadcastDims } from "../semantics/shapes.ts";
import type { ShapeFunction } from "./shape-call.ts";

/** [1, heads, queries, keys] of T5's bias, whose lengths are inputs. */
const relativePositionBias: ShapeFunction = ({ inputs: [table, queries, keys] }) => {
  const [rows, columns] = [queries?.value?.data[0], keys?.value?.data[0]];
  if (!table || rows === undefined || columns === undefined) return undefined;
  return [{ dims: [1, table.dims[1]!, rows, columns], dataType: table.dataType }];
};

/** [batch, heads, length, length] of WavLM's bias. */
const gatedRelativePositionBias: ShapeFunction = ({ node, inputs: [query] }) => {
  const [batch, length] = query?.dims ?? [];
  if (!query || batch === undefined || length === undefined) return undefined;
  return [{ dims: [batch, intAttribute(node, "num_heads", 1), length, length], dataType: query.dataType }];
};

/** Rows of a table of 4 or 8 bits, two of 4 bits to a byte, multiplied by the scales of their blocks. */
const gatherBlockQuantized: ShapeFunction = ({ node, inputs: [data, indices, scales] }) => {
  if (!data || !indices || !scales) return undefined;
  const packed = data.dataType === DataType.UINT8 ? 8 / intAttribute(node, "bits", 4) : 1;
  const dims = data.dims.map((dim, axis) => (axis === data.dims.length - 1 ? dim * packed : dim));
  const axis = intAttribute(node, "gather_axis", 0);
  const before = axis < 0 ? axis + dims.length : axis;
  return [{ dims: [...dims.slice(0, before), ...indices.dims, ...dims.slice(before + 1)], dataType: scales.dataType }];
};

/** Scale and zero point of the result, then a part, its scale and its zero point, and so on. */
const quantisedConcat: ShapeFunction = (call) => {
  const parts = call.inputs.slice(2).filter((_, i) => i % 3 === 0);
  return layout.concat(call.on(parts));
};

const quantisedWhere: ShapeFunction = (call) => {
  const [condition, x, y] = [call.input(0), call.input(1), call.input(4)];
  return [{ dims: broadcastDims(call, condition.dims, x.dims, y.dims), dataType: x.dataType }];
};

/** Shape functions of operators in onnxruntime's own domain that its optimizers and quantisers write. */
export const runtimeShapes: readonly (readonly [string, ShapeFunction])[] = [
  ["RelativePositionBias", relativePositionBias],
  ["GatedRelativePositionBias", gatedRelativePositionBias],
  ["GatherBlockQuantized", gatherBlockQuantized],
  ["QLinearConcat", quantisedConcat],
  ["QLinearWhere", quantisedWhere],
];
