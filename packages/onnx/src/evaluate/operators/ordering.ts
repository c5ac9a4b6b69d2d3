import { DataType } from "../../model/proto.ts";
import { markInexact, type OperatorCall, type OperatorTable } from "../call.ts";
import { axisView, computed, type AxisView } from "../positions.ts";
import type { Tensor } from "../tensor.ts";

/** Index of the largest (smallest) element along `axis`, the first of equals unless select_last_index (opset 12). */
const argExtreme =
  (sign: number) =>
  (call: OperatorCall): Tensor[] => {
    const source = call.exact(0);
    const axis = call.axis(call.int("axis", 0), source.dims.length);
    const last = call.int("select_last_index", 0) !== 0;
    const { outer, length, inner } = axisView(source.dims, axis);
    if (length === 0) call.fail("there is no element to choose");
    const kept = source.dims.map((dim, i) => (i === axis ? 1 : dim));
    const dims = call.int("keepdims", 1) !== 0 ? kept : kept.filter((_, i) => i !== axis);
    call.operations(source.data.length);
    const data = call.data(dims, DataType.INT64);
    for (let block = 0; block < outer; block++) {
      for (let column = 0; column < inner; column++) {
        let best = 0;
        for (let row = 1; row < length; row++) {
          const found = sign * source.data[(block * length + row) * inner + column]!;
          const present = sign * source.data[(block * length + best) * inner + column]!;
          if (found > present || (last && found === present)) best = row;
        }
        data[block * inner + column] = best;
      }
    }
    return [{ dims, dataType: DataType.INT64, data }];
  };

/** The k largest (smallest) along `axis`, and their indices. Always sorted; among equals, the lower index comes first. */
const topK = (call: OperatorCall): Tensor[] => {
  const source = call.exact(0);
  const axis = call.axis(call.int("axis", -1), source.dims.length);
  // An attribute before opset 10.
  const k = call.optional(1) === null ? call.int("k", 1) : call.scalar(1);
  const sign = call.int("largest", 1) !== 0 ? 1 : -1;
  const { outer, length, inner } = axisView(source.dims, axis);
  if (!(k >= 0 && k <= length)) call.fail(`k is ${k} for ${length} elements`);
  const dims = source.dims.map((dim, i) => (i === axis ? k : dim));
  call.operations(source.data.length * Math.ceil(Math.log2(length + 2)));
  const values = call.data(dims, source.dataType);
  const indices = call.data(dims, DataType.INT64);
  for (let block = 0; block < outer; block++) {
    for (let column = 0; column < inner; column++) {
      const at = (row: number) => source.data[(block * length + row) * inner + column]!;
      const order = Array.from({ length }, (_, row) => row);
      order.sort((a, b) => sign * (at(b) - at(a)) || a - b);
      for (let rank = 0; rank < k; rank++) {
        const target = (block * k + rank) * inner + column;
        values[target] = at(order[rank]!);
        indices[target] = order[rank]!;
      }
    }
  }
  return [
    { dims, dataType: source.dataType, data: values },
    { dims, dataType: DataType.INT64, data: indices },
  ];
};

/** Running totals along an axis; `exclusive` leaves out the element itself, `reverse` starts from the end. */
const cumulative =
  (start: number, combine: (total: number, element: number) => number) =>
  (call: OperatorCall): Tensor[] => {
    const source = call.input(0);
    const axis = call.axis(call.scalar(1), source.dims.length);
    const exclusive = call.int("exclusive", 0) !== 0;
    const reverse = call.int("reverse", 0) !== 0;
    const { outer, length, inner } = axisView(source.dims, axis);
    const data = call.data(source.dims, source.dataType);
    for (let block = 0; block < outer; block++) {
      for (let column = 0; column < inner; column++) {
        let total = start;
        for (let step = 0; step < length; step++) {
          const row = reverse ? length - 1 - step : step;
          const at = (block * length + row) * inner + column;
          if (exclusive) data[at] = total;
          total = combine(total, source.data[at]!);
          if (!exclusive) data[at] = total;
        }
      }
    }
    markInexact(source.dataType, data);
    return [computed(source.dims, source.dataType, data)];
  };

/** Where each row of [outer, length, inner] along `length` begins: its elements are `inner` apart. */
function* rowStarts({ outer, length, inner }: AxisView): Generator<number> {
  for (let block = 0; block < outer; block++) {
    for (let column = 0; column < inner; column++) yield block * length * inner + column;
  }
}

/** Along `axis` (default -1); before opset 13 over all dimensions from `axis` (default 1) on, flattened. */
function softmaxView(call: OperatorCall, source: Tensor): AxisView {
  const rank = source.dims.length;
  const flattens = call.opset < 13;
  const axis = call.axis(call.int("axis", flattens ? 1 : -1), rank, flattens);
  const view = axisView(source.dims, axis);
  return flattens ? { outer: view.outer, length: view.length * view.inner, inner: 1 } : view;
}

const softmax =
  (log: boolean) =>
  (call: OperatorCall): Tensor[] => {
    const source = call.input(0);
    call.requireFloat(source);
    const view = softmaxView(call, source);
    const data = call.data(source.dims, source.dataType);
    call.operations(3 * data.length);
    const { data: x } = source;
    const { length, inner } = view;
    const exponents = new Float64Array(length);
    for (const start of rowStarts(view)) {
      let largest = -Infinity;
      for (let i = 0; i < length; i++) largest = Math.max(largest, x[start + i * inner]!);
      let sum = 0;
      for (let i = 0; i < length; i++) sum += exponents[i] = Math.exp(x[start + i * inner]! - largest);
      const logSum = Math.log(sum);
      for (let i = 0; i < length; i++) {
        const at = start + i * inner;
        data[at] = log ? x[at]! - largest - logSum : exponents[i]! / sum;
      }
    }
    return [computed(source.dims, source.dataType, data)];
  };

/** 1 at the first largest element, 0 elsewhere. */
const hardmax = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const { outer, length, inner } = softmaxView(call, source);
  const data = call.data(source.dims, source.dataType);
  for (let block = 0; block < outer; block++) {
    for (let column = 0; column < inner; column++) {
      const at = (row: number) => (block * length + row) * inner + column;
      let best = 0;
      for (let row = 1; row < length; row++) if (source.data[at(row)]! > source.data[at(best)]!) best = row;
      if (length > 0) data[at(best)] = 1;
    }
  }
  return [{ dims: source.dims, dataType: source.dataType, data }];
};

/** Operators that compare or accumulate along one axis. */
export const orderingOperators: OperatorTable = {
  ArgMax: argExtreme(1),
  ArgMin: argExtreme(-1),
  TopK: topK,
  CumSum: cumulative(0, (total, x) => total + x),
  CumProd: cumulative(1, (total, x) => total * x),
  Softmax: softmax(false),
  LogSoftmax: softmax(true),
  Hardmax: hardmax,
};
