import { markInexact, type OperatorCall, type OperatorTable } from "../call.ts";
import { computed, stridedPositions, stridesOf } from "../positions.ts";
import { isFloat, type Tensor } from "../tensor.ts";
import { integerRange } from "./casting.ts";

/** A reduction as a fold: each element is combined with the total so far, and the total is finished. */
interface Reduction {
  readonly start: number;
  readonly combine: (total: number, element: number) => number;
  readonly finish?: (total: number, count: number) => number;
  /** Whether the result is one of the elements, so that a sentinel stays a sentinel. */
  readonly selects?: boolean;
}

/** Axes from the attribute (before opset 18; ReduceSum 13) or input 1. If none are given: all, or none with the flag. */
function reducedAxes(call: OperatorCall, rank: number): boolean[] {
  const axes = call.integersOr(1, "axes") ?? [];
  if (axes.length === 0) return Array.from({ length: rank }, () => call.int("noop_with_empty_axes", 0) === 0);
  const normalised = new Set(axes.map((axis) => call.axis(axis, rank)));
  return Array.from({ length: rank }, (_, axis) => normalised.has(axis));
}

interface ReducedShape {
  readonly dims: readonly number[];
  /** Where in the output each input element goes. */
  readonly positions: Int32Array;
  /** Elements that go to each output element. */
  readonly count: number;
}

function reducedShape(call: OperatorCall, source: Tensor): ReducedShape {
  const reduced = reducedAxes(call, source.dims.length);
  const kept = source.dims.map((dim, axis) => (reduced[axis] ? 1 : dim));
  const strides = stridesOf(kept).map((stride, axis) => (reduced[axis] ? 0 : stride));
  const keepsDims = call.int("keepdims", 1) !== 0;
  call.operations(source.data.length);
  return {
    dims: keepsDims ? kept : kept.filter((_, axis) => !reduced[axis]),
    positions: stridedPositions(source.dims, strides),
    count: source.dims.reduce((count, dim, axis) => (reduced[axis] ? count * dim : count), 1),
  };
}

/** Totals are kept in float64 and rounded once. */
const reduce =
  (reduction: Reduction) =>
  (call: OperatorCall): Tensor[] => {
    const source = call.input(0);
    const { dims, positions, count } = reducedShape(call, source);
    const data = call.data(dims, source.dataType);
    const totals = new Float64Array(data.length).fill(reduction.start);
    for (let i = 0; i < positions.length; i++) {
      totals[positions[i]!] = reduction.combine(totals[positions[i]!]!, source.data[i]!);
    }
    const { finish } = reduction;
    for (let i = 0; i < data.length; i++) data[i] = finish === undefined ? totals[i]! : finish(totals[i]!, count);
    if (reduction.selects !== true) markInexact(source.dataType, data);
    return [computed(dims, source.dataType, data)];
  };

const extreme = (start: number, combine: (a: number, b: number) => number) => (call: OperatorCall) => {
  const source = call.input(0);
  const range = integerRange(source.dataType);
  const bool = !isFloat(source.dataType) && range === undefined;
  // Integer arrays cannot hold the infinity of an empty reduction.
  const first = bool ? (start < 0 ? 0 : 1) : range === undefined ? start : start < 0 ? range[0] : range[1];
  return reduce({ start: first, combine, selects: true })(call);
};

const mean = (call: OperatorCall): Tensor[] => {
  const finish = isFloat(call.input(0).dataType)
    ? (total: number, count: number) => total / count
    : (total: number, count: number) => Math.trunc(total / count);
  return reduce({ start: 0, combine: (total, x) => total + x, finish })(call);
};

/** log(sum(exp(x))), each row shifted by its maximum. */
const logSumExp = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const { dims, positions } = reducedShape(call, source);
  const data = call.data(dims, source.dataType);
  const largest = new Float64Array(data.length).fill(-Infinity);
  const totals = new Float64Array(data.length);
  for (let i = 0; i < positions.length; i++) {
    largest[positions[i]!] = Math.max(largest[positions[i]!]!, source.data[i]!);
  }
  for (let i = 0; i < positions.length; i++) {
    const shift = largest[positions[i]!]!;
    totals[positions[i]!]! += Number.isFinite(shift) ? Math.exp(source.data[i]! - shift) : 0;
  }
  for (let i = 0; i < data.length; i++) {
    data[i] = Number.isFinite(largest[i]!) ? largest[i]! + Math.log(totals[i]!) : largest[i]!;
  }
  return [computed(dims, source.dataType, data)];
};

const sum = (total: number, x: number): number => total + x;
const sumSquares = (total: number, x: number): number => total + x * x;

/** Reductions over axes. */
export const reductionOperators: OperatorTable = {
  ReduceSum: reduce({ start: 0, combine: sum }),
  ReduceMean: mean,
  ReduceProd: reduce({ start: 1, combine: (total, x) => total * x }),
  ReduceMax: extreme(-Infinity, Math.max),
  ReduceMin: extreme(Infinity, Math.min),
  ReduceL1: reduce({ start: 0, combine: (total, x) => total + Math.abs(x) }),
  ReduceL2: reduce({ start: 0, combine: sumSquares, finish: Math.sqrt }),
  ReduceSumSquare: reduce({ start: 0, combine: sumSquares }),
  ReduceLogSum: reduce({ start: 0, combine: sum, finish: Math.log }),
  ReduceLogSumExp: logSumExp,
};
