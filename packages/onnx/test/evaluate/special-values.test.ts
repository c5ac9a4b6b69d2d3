import { Tensor as OrtTensor } from "onnxruntime-node";
import { expect, test } from "vitest";
import Long from "long";
import { openSession } from "@favor/test-support/onnxruntime";
import { apply, node, type AttributeValue } from "@favor/test-support/nodes";
import { encodeTensor, isFloat, tensorOf, type Tensor } from "../../src/evaluate/tensor.ts";
import { elementType } from "../../src/model/element-types.ts";
import { encodeModel } from "../../src/model/encode.ts";
import { DataType } from "../../src/model/proto.ts";
import { createMessage } from "../../src/model/schema.ts";

const { FLOAT, DOUBLE, FLOAT16, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64 } = DataType;
const opset = 21;

/** For each type zeros, the smallest and largest numbers, what overflows and what loses digits. */
function specials(dataType: number): number[] {
  if (isFloat(dataType)) {
    const [denormal, smallest, largest] = {
      [FLOAT]: [2 ** -149, 2 ** -126, (2 - 2 ** -23) * 2 ** 127],
      [DOUBLE]: [Number.MIN_VALUE, 2 ** -1022, Number.MAX_VALUE],
      [FLOAT16]: [2 ** -24, 2 ** -14, 65504],
    }[dataType]!;
    const sizes = [0, denormal!, smallest!, 1e-6, 0.5, 1, 1.5, 2, 3, 5.3, 88, 1000, largest!, Infinity];
    return [...sizes, ...sizes.map((size) => -size), NaN];
  }
  const { name, bits } = elementType(dataType)!;
  // 64-bit integers are exact up to 2^53 here.
  const largest = bits === 64 ? 2 ** 53 : name.startsWith("U") ? 2 ** bits - 1 : 2 ** (bits - 1) - 1;
  const sizes = [0, 1, 2, 3, 7, 100, largest - 1, largest];
  return name.startsWith("U")
    ? sizes
    : [...sizes, -1, -2, -3, -7, -100, 1 - largest, bits === 64 ? -largest : -largest - 1];
}

interface Case {
  readonly op: string;
  readonly types: readonly number[];
  readonly operands: 1 | 2;
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
  /** Relative difference that rounding explains; default none. */
  readonly near?: number;
  /** Pairs that C does not define: a division by zero, the smallest integer by -1. */
  readonly divides?: boolean;
}

const integers = [INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64];
const floats = [FLOAT, DOUBLE, FLOAT16];
const wide = [INT32, INT64, FLOAT, DOUBLE];

/** What onnxruntime has for each type: it refuses the others. */
const cases: readonly Case[] = [
  { op: "Mod", types: integers, operands: 2, divides: true },
  { op: "Mod", types: [...integers, ...floats], operands: 2, attributes: { fmod: 1 }, divides: true },
  { op: "Div", types: wide, operands: 2, divides: true },
  ...["Add", "Sub", "Mul"].map((op): Case => ({ op, types: wide, operands: 2 })),
  { op: "Max", types: [...wide, INT8, UINT8, UINT32, UINT64], operands: 2 },
  { op: "Min", types: [...wide, INT8, UINT8, UINT32, UINT64], operands: 2 },
  { op: "Pow", types: [FLOAT, DOUBLE], operands: 2, near: 1e-6 },
  { op: "PRelu", types: [FLOAT], operands: 2 },
  ...["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"].map((op): Case => ({
    op,
    types: wide,
    operands: 2,
  })),
  ...["Abs", "Sign"].map((op): Case => ({ op, types: [...integers, FLOAT, DOUBLE], operands: 1 })),
  { op: "Neg", types: [INT8, ...wide], operands: 1 },
  { op: "Relu", types: [INT8, INT32, FLOAT, DOUBLE], operands: 1 },
  { op: "Clip", types: [...wide, INT8, UINT8, UINT64], operands: 1 },
  ...["Ceil", "Floor"].map((op): Case => ({ op, types: [FLOAT, DOUBLE], operands: 1 })),
  { op: "Round", types: floats, operands: 1 },
  ...["Sqrt", "Reciprocal"].map((op): Case => ({ op, types: [FLOAT, DOUBLE], operands: 1, near: 1e-7 })),
  ...["ThresholdedRelu", "HardSigmoid"].map((op): Case => ({ op, types: [FLOAT], operands: 1, near: 1e-6 })),
  // Of float64, onnxruntime computes Shrink in float32.
  { op: "Shrink", types: [FLOAT, FLOAT16], operands: 1, attributes: { bias: { float: 1.5 } } },
  ...["IsNaN", "IsInf"].map((op): Case => ({ op, types: [FLOAT, DOUBLE], operands: 1 })),
];

function inputsOf({ operands, divides }: Case, dataType: number): Tensor[] {
  const values = specials(dataType);
  if (operands === 1) return [tensorOf(dataType, [values.length], values)];
  const smallest = Math.min(...values);
  const pairs = values
    .flatMap((a) => values.map((b) => [a, b] as const))
    .filter(([a, b]) => {
      return isFloat(dataType) || divides !== true || (b !== 0 && !(a === smallest && b === -1));
    });
  return [0, 1].map((side) =>
    tensorOf(
      dataType,
      [pairs.length],
      pairs.map((pair) => pair[side]!),
    ),
  );
}

async function onOnnxruntime({ op, attributes }: Case, inputs: readonly Tensor[]): Promise<number[]> {
  const names = inputs.map((_, i) => `x${i}`);
  const isComparison = /^(Equal|Less|Greater|Is)/.test(op);
  const output = isComparison ? DataType.BOOL : inputs[0]!.dataType;
  const given = (output === FLOAT16 ? FLOAT : output) as number;
  const type = createMessage("TypeProto", { tensorType: createMessage("TensorTypeProto", { elemType: given }) });
  const model = createMessage("ModelProto", {
    irVersion: Long.fromNumber(8),
    opsetImport: [createMessage("OperatorSetIdProto", { version: Long.fromNumber(opset) })],
    graph: createMessage("GraphProto", {
      name: "graph",
      node: [
        node(op, names, ["result"], attributes),
        output === FLOAT16 ? node("Cast", ["result"], ["y"], { to: FLOAT }) : node("Identity", ["result"], ["y"]),
      ],
      initializer: inputs.map((tensor, i) => encodeTensor(names[i]!, tensor)),
      output: [createMessage("ValueInfoProto", { name: "y", type })],
    }),
  });
  const session = await openSession(encodeModel(model));
  const { y } = await session.run({});
  return Array.from((y as OrtTensor).data as ArrayLike<number | bigint>, Number);
}

const listed = cases.flatMap((given) =>
  given.types.map((type) => {
    const form = given.attributes === undefined ? "" : `, ${Object.keys(given.attributes).join()}`;
    return [`${given.op}${form} of ${elementType(type)!.name}`, given, type] as const;
  }),
);

test.each(listed)("%s", async (_, given, dataType) => {
  const inputs = inputsOf(given, dataType);
  const expected = await onOnnxruntime(given, inputs);
  const found = apply(given.op, inputs, given.attributes, opset).data;
  const near = given.near ?? 0;
  const wrong = expected.flatMap((value, i) => {
    const own = found[i]!;
    // What arithmetic makes of integers near 2^53 may be unknown, and says so.
    const largest = Math.max(...inputs.map(({ data }) => Math.abs(data[i]!)));
    if (!isFloat(dataType) && Number.isNaN(own) && largest >= 2 ** 53 - 1) return [];
    if (own === value || (Number.isNaN(own) && Number.isNaN(value))) return [];
    if (Math.abs(own - value) <= near * Math.abs(value)) return [];
    return [`(${inputs.map(({ data }) => data[i]).join(", ")}) gives ${own}, not ${value}`];
  });
  expect(wrong).toEqual([]);
});

test("Mod of floats with the sign of the divisor exists since opset 28", () => {
  const operands = [-5.5, Infinity].map((value) => tensorOf(FLOAT, [1], [value]));
  expect(apply("Mod", operands, {}, 28).data[0]).toBe(Infinity);
  expect(() => apply("Mod", operands, {}, 27)).toThrow(/floats need fmod=1 before opset 28/);
});

test("Pow of integers truncates", () => {
  const operands = [-2, -3].map((value) => tensorOf(INT32, [1], [value]));
  expect(apply("Pow", operands).data[0]).toBe(0);
});
