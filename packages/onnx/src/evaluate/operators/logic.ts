import { DataType } from "../../model/proto.ts";
import { broadcastDims } from "../../semantics/shapes.ts";
import type { OperatorCall, OperatorTable } from "../call.ts";
import { broadcastPositions, mapBinary, mapUnary } from "../positions.ts";
import type { Tensor } from "../tensor.ts";

const truth = (f: (a: number, b: number) => boolean) => (call: OperatorCall) => [
  mapBinary(call, call.exact(0), call.exact(1), DataType.BOOL, (a, b) => (f(a, b) ? 1 : 0)),
];

const test = (f: (x: number) => boolean) => (call: OperatorCall) => [
  mapUnary(call, DataType.BOOL, (x) => (f(x) ? 1 : 0)),
];

const isInfinite = (call: OperatorCall): Tensor[] => {
  const positive = call.int("detect_positive", 1) !== 0;
  const negative = call.int("detect_negative", 1) !== 0;
  return test((x) => (positive && x === Infinity) || (negative && x === -Infinity))(call);
};

/** condition ? x : y, all three broadcast. */
const where = (call: OperatorCall): Tensor[] => {
  const condition = call.input(0);
  const x = call.input(1);
  const y = call.input(2);
  const dims = broadcastDims(call, condition.dims, x.dims, y.dims);
  const data = call.data(dims, x.dataType);
  const conditionAt = broadcastPositions(condition.dims, dims);
  const xAt = broadcastPositions(x.dims, dims);
  const yAt = broadcastPositions(y.dims, dims);
  for (let i = 0; i < data.length; i++) {
    const chosen = condition.data[conditionAt === null ? i : conditionAt[i]!] !== 0;
    data[i] = chosen ? x.data[xAt === null ? i : xAt[i]!]! : y.data[yAt === null ? i : yAt[i]!]!;
  }
  return [{ dims, dataType: x.dataType, data }];
};

/** Comparisons, Boolean operators and choices by them. */
export const logicOperators: OperatorTable = {
  Equal: truth((a, b) => a === b),
  Less: truth((a, b) => a < b),
  LessOrEqual: truth((a, b) => a <= b),
  Greater: truth((a, b) => a > b),
  GreaterOrEqual: truth((a, b) => a >= b),
  And: truth((a, b) => a !== 0 && b !== 0),
  Or: truth((a, b) => a !== 0 || b !== 0),
  Xor: truth((a, b) => (a !== 0) !== (b !== 0)),
  Not: test((x) => x === 0),
  IsNaN: test(Number.isNaN),
  IsInf: isInfinite,
  Where: where,
};
