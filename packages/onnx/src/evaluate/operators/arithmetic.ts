import { isWide, markInexact, type OperatorCall, type OperatorTable } from "../call.ts";
import { DataType } from "../../model/proto.ts";
import { computed, mapBinary, mapUnary } from "../positions.ts";
import { isFloat, isInteger, type Tensor } from "../tensor.ts";

type Binary = (a: number, b: number) => number;

/** Two operands of one type, to which the result belongs too. */
function sameType(call: OperatorCall, a: Tensor, b: Tensor, f: Binary): Tensor {
  if (a.dataType !== b.dataType) call.fail(`its operands have data types ${a.dataType} and ${b.dataType}`);
  return mapBinary(call, a, b, a.dataType, f);
}

function arithmetic(call: OperatorCall, a: Tensor, b: Tensor, f: Binary): Tensor {
  const result = sameType(call, a, b, f);
  markInexact(result.dataType, result.data);
  return result;
}

const binary = (f: Binary) => (call: OperatorCall) => [arithmetic(call, call.input(0), call.input(1), f)];

// Smaller products are exact in a double and wrap when stored; those of 32 bits are not.
const product = (dataType: number): Binary =>
  dataType === DataType.INT32 || dataType === DataType.UINT32 ? Math.imul : (a, b) => a * b;

const multiply = (call: OperatorCall): Tensor[] => {
  const a = call.input(0);
  return [arithmetic(call, a, call.input(1), product(a.dataType))];
};

/** Integers divide towards zero, as C does (and onnxruntime). */
const divide = (call: OperatorCall): Tensor[] => {
  const a = call.input(0);
  if (isFloat(a.dataType)) return [arithmetic(call, a, call.input(1), (x, y) => x / y)];
  return [
    arithmetic(call, a, call.input(1), (x, y) => {
      if (y === 0) call.fail("an integer is divided by zero");
      // `+ 0` turns -0 into 0, which integers do not tell apart.
      return Math.trunc(x / y) + 0;
    }),
  ];
};

/** fmod = 0: the sign of the divisor, as Python's `%`, for floats since opset 28; fmod = 1: of the dividend, as C's. */
const modulo = (call: OperatorCall): Tensor[] => {
  const a = call.input(0);
  const truncated = call.int("fmod", 0) !== 0;
  const integer = isInteger(a.dataType);
  if (!integer && !truncated && call.opset < 28) call.fail("floats need fmod=1 before opset 28");
  return [
    arithmetic(call, a, call.input(1), (x, y) => {
      if (integer && y === 0) call.fail("an integer is divided by zero");
      const rest = x % y;
      const wrapped = !truncated && rest !== 0 && rest < 0 !== y < 0 ? rest + y : rest;
      return integer ? wrapped + 0 : wrapped;
    }),
  ];
};

/** As in IEEE 754 and C; JavaScript's own gives NaN for 1 to the power of NaN, and for 1 and -1 to that of Infinity. */
const ieeePower: Binary = (x, y) => (x === 1 || (x === -1 && Math.abs(y) === Infinity) ? 1 : x ** y);

/** The exponent may be of another type; the result is of the base's. */
const power = (call: OperatorCall): Tensor[] => {
  const base = call.input(0);
  const f: Binary = isFloat(base.dataType) ? ieeePower : (x, y) => Math.trunc(x ** y);
  const result = mapBinary(call, base, call.input(1), base.dataType, f);
  markInexact(result.dataType, result.data);
  return [result];
};

/** The largest (smallest) of any number of inputs, each broadcast to the others. A sentinel stays a sentinel. */
const extreme = (f: Binary) => (call: OperatorCall) => [call.present().reduce((a, b) => sameType(call, a, b, f))];

/** The sum (mean) of any number of inputs, each broadcast to the others. */
const variadicSum =
  (mean: boolean) =>
  (call: OperatorCall): Tensor[] => {
    const inputs = call.present();
    const total = inputs.reduce((a, b) => arithmetic(call, a, b, (x, y) => x + y));
    if (!mean) return [total];
    const data = call.data(total.dims, total.dataType);
    for (let i = 0; i < data.length; i++) data[i] = total.data[i]! / inputs.length;
    return [computed(total.dims, total.dataType, data)];
  };

/** A negative amount, or one beyond the width, shifts everything out. */
const bitShift = (call: OperatorCall): Tensor[] => {
  const shift: Binary =
    call.string("direction", "") === "LEFT"
      ? (a, b) => (b < 0 ? 0 : a * 2 ** b)
      : (a, b) => Math.floor(b < 0 ? Math.sign(a) / 2 : a / 2 ** b);
  return [arithmetic(call, call.input(0), call.input(1), shift)];
};

const areSafe = (x: number, y: number): boolean => Number.isSafeInteger(x) && Number.isSafeInteger(y);

const bitwise =
  (narrow: Binary, wide: (a: bigint, b: bigint) => bigint) =>
  (call: OperatorCall): Tensor[] => {
    const a = call.input(0);
    const b = call.input(1);
    if (!isInteger(a.dataType)) call.fail(`it needs integers, found data type ${a.dataType}`);
    if (!isWide(a.dataType)) return [arithmetic(call, a, b, narrow)];
    return [arithmetic(call, a, b, (x, y) => (areSafe(x, y) ? Number(wide(BigInt(x), BigInt(y))) : NaN))];
  };

const bitwiseNot = (call: OperatorCall): Tensor[] => {
  const { dataType } = call.input(0);
  // ~x = -1 - x in two's complement; unsigned arrays wrap it, except the 64-bit ones.
  const ones = dataType === DataType.UINT64 ? 2 ** 64 : -1;
  const result = mapUnary(call, dataType, (x) => ones - x);
  markInexact(dataType, result.data);
  return [result];
};

/** Applies f and keeps the type; integers wrap. */
const unary = (f: (x: number) => number) => (call: OperatorCall) => [mapUnary(call, call.input(0).dataType, f)];

/** Rounds to the nearest integer, halves to the even one. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Element-wise arithmetic of integers and floating-point numbers, and of bits. */
export const arithmeticOperators: OperatorTable = {
  Add: binary((a, b) => a + b),
  Sub: binary((a, b) => a - b),
  Mul: multiply,
  Div: divide,
  Mod: modulo,
  Pow: power,
  Max: extreme(Math.max),
  Min: extreme(Math.min),
  Sum: variadicSum(false),
  Mean: variadicSum(true),
  BitShift: bitShift,
  BitwiseAnd: bitwise(
    (a, b) => a & b,
    (a, b) => a & b,
  ),
  BitwiseOr: bitwise(
    (a, b) => a | b,
    (a, b) => a | b,
  ),
  BitwiseXor: bitwise(
    (a, b) => a ^ b,
    (a, b) => a ^ b,
  ),
  BitwiseNot: bitwiseNot,
  Abs: unary(Math.abs),
  // An integer has no -0.
  Neg: (call) => [mapUnary(call, call.input(0).dataType, isFloat(call.input(0).dataType) ? (x) => -x : (x) => 0 - x)],
  Sign: unary(Math.sign),
  Ceil: unary(Math.ceil),
  Floor: unary(Math.floor),
  Round: unary(roundHalfEven),
  Sqrt: unary(Math.sqrt),
  Reciprocal: unary((x) => 1 / x),
  Exp: unary(Math.exp),
  Log: unary(Math.log),
  Sin: unary(Math.sin),
  Cos: unary(Math.cos),
  Tan: unary(Math.tan),
  Asin: unary(Math.asin),
  Acos: unary(Math.acos),
  Atan: unary(Math.atan),
  Sinh: unary(Math.sinh),
  Cosh: unary(Math.cosh),
  Asinh: unary(Math.asinh),
  Acosh: unary(Math.acosh),
  Atanh: unary(Math.atanh),
};
