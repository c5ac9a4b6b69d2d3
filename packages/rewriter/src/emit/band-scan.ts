import { DataType } from "@favor/onnx";
import type { NodeBuilder } from "@favor/onnx/graph";
import type { Band } from "../attention/band.ts";
import { attended, lowest } from "./attended.ts";
import { BlockScan } from "./block-scan.ts";
import type { SiteInputs } from "./site-inputs.ts";

/**
 * Attention within a wide band, one block of queries after another. Each takes the keys and values that one of its
 * queries may see from outside, as a slice: memory of O(L) and of one block's logits.
 *
 * @param inputs with queries that are scaled
 * @param block the most queries per block
 * @returns [batch, heads, queries, valueDim]
 */
export function emitBandScan(build: NodeBuilder, inputs: SiteInputs, band: Band, block: number): string {
  const { before, after, firstKeys } = band;
  const length = build.dimension(inputs.query, 2);
  const scan = new BlockScan(build, length, block);
  const { inner, index } = scan;
  const first = inner.op("Sub", [inner.slice(index, 0, 0, 1), build.integers([before])]);
  const start = inner.extreme("Max", [first, build.integers([firstKeys])]);
  const last = inner.op("Slice", [index, build.integers([-1]), build.integers([2 ** 31 - 1])]);
  const end = inner.extreme("Min", [inner.op("Add", [last, build.integers([after + 1])]), length]);
  const count = inner.extreme("Max", [inner.op("Sub", [end, start]), build.integers([0])]);
  const stop = inner.op("Add", [start, count]);
  const near = inner.op("Add", [start, inner.range(count)]);
  /** The block's keys along an axis: the first of all, then those near. */
  const within = (value: string, axis: number): string => {
    const part = inner.op("Slice", [value, start, stop, build.integers([axis])]);
    return firstKeys === 0 ? part : inner.concat([build.slice(value, axis, 0, firstKeys), part], axis);
  };
  const rows = inner.unsqueeze(index, [1]);
  const distance = inner.op("Sub", [inner.unsqueeze(near, [0]), rows]);
  const isNear = inner.op("Not", [
    inner.op("Or", [
      inner.op("Less", [distance, build.integers([-before])]),
      inner.op("Greater", [distance, build.integers([after])]),
    ]),
  ]);
  let visible = isNear;
  if (firstKeys > 0) {
    const keys = build.range(build.extreme("Min", [length, build.integers([firstKeys])]));
    const ahead = inner.op("Less", [inner.op("Add", [rows, after === 0 ? build.integers([0]) : length]), keys]);
    visible = inner.concat([inner.op("Not", [ahead]), isNear], 1);
  }
  if (inputs.keep !== undefined) visible = inner.op("And", [visible, within(inputs.keep, 3)]);
  const bias = inner.op("Where", [visible, build.scalar(0), build.scalar(lowest)]);
  const products = inner.op("MatMul", [scan.rowsOf(inputs.query, 2), within(inputs.keyColumns, 3)]);
  const sums = attended(inner, inner.op("Add", [products, bias]), within(inputs.value, 2), 4);
  return scan.finish(sums, { axis: 2, rank: 4, dataType: DataType.FLOAT });
}
