import { DataType, type ModelProto } from "@favor/onnx";
import { floats, info, model, node, type Attribute } from "../graphs.ts";

/**
 * How near a result has to be: the very number ("exact"), but for one rounding ("rounded"), or as near as functions are
 * computed ("near"). In an "angle", only arguments up to 10^4 count: beyond, tfjs does not reduce them.
 */
export type Accuracy = "exact" | "rounded" | "near" | "angle";

/** An elementwise operator with values of its inputs, element by element. */
export interface SpecialCase {
  readonly name: string;
  readonly op: string;
  readonly accuracy: Accuracy;
  readonly attributes: Readonly<Record<string, Attribute>>;
  /** float32 numbers, as many in each input. */
  readonly inputs: readonly (readonly number[])[];
  /** Single values that follow the inputs, such as the bounds of Clip, stored in the graph. */
  readonly constants: readonly number[];
  /** How many of the inputs are cast to bool first. */
  readonly booleans: number;
  readonly opset: number;
}

const { fround } = Math;
const [denormal, smallest, largest] = [2 ** -149, 2 ** -126, (2 - 2 ** -23) * 2 ** 127];

const mirrored = (sizes: readonly number[]): readonly number[] => [...sizes, ...sizes.map((size) => -size), NaN];

/** Zeros, denormals, the limits of float32, infinities, NaN, and where functions saturate, overflow or round. */
const specials = mirrored([
  0,
  denormal,
  fround(1e-40),
  smallest,
  fround(1e-30),
  fround(1e-8),
  fround(1e-3),
  0.25,
  0.5,
  fround(0.7),
  1,
  1.5,
  2,
  2.5,
  3,
  6,
  7.5,
  20,
  88,
  89,
  104,
  1000,
  fround(1e10),
  fround(1e20),
  largest,
  Infinity,
]);

const few = mirrored([0, denormal, fround(1e-30), fround(1e-8), 0.5, 1, 2, 3, fround(5.3), 1000, largest, Infinity]);
/** Every pair of special values. */
const pairs = [few.flatMap((a) => few.map(() => a)), few.flatMap(() => few)];

type Options = Partial<Omit<SpecialCase, "op" | "name">> & { readonly form?: string };

function special(
  accuracy: Accuracy,
  op: string,
  inputs: SpecialCase["inputs"],
  { form, ...options }: Options,
): SpecialCase {
  const name = form === undefined ? op : `${op}, ${form}`;
  return { name, op, accuracy, attributes: {}, constants: [], booleans: 0, opset: 21, inputs, ...options };
}

const unary = (accuracy: Accuracy, op: string, options: Options = {}): SpecialCase =>
  special(accuracy, op, [specials], options);
const unaries = (accuracy: Accuracy, ...ops: string[]): SpecialCase[] => ops.map((op) => unary(accuracy, op));
const binary = (accuracy: Accuracy, op: string, options: Options = {}): SpecialCase =>
  special(accuracy, op, pairs, options);
const binaries = (accuracy: Accuracy, ...ops: string[]): SpecialCase[] => ops.map((op) => binary(accuracy, op));
/** With the second input stored in the graph, as exponents and bounds are. */
const withConstant = (accuracy: Accuracy, op: string, ...constants: number[]): SpecialCase[] =>
  constants.map((value) =>
    unary(accuracy, op, { constants: [value], form: `by ${Object.is(value, -0) ? "-0" : value}` }),
  );

const float = (value: number): Attribute => ({ float: value });

/** Every operator that computes element by element in floats. */
export const cases: readonly SpecialCase[] = [
  ...unaries("exact", "Abs", "Ceil", "Floor", "Identity", "Neg", "Relu", "Round", "Sign", "IsNaN", "IsInf"),
  ...unaries("rounded", "Reciprocal", "Sqrt"),
  ...unaries("near", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cosh", "Erf", "Exp", "Log", "Sigmoid"),
  ...unaries("near", "Sinh", "Softplus", "Softsign", "Tanh", "HardSwish", "Mish", "Elu", "Selu", "Gelu"),
  ...unaries("near", "com.microsoft:Gelu", "com.microsoft:QuickGelu", "com.microsoft:FastGelu"),
  ...unaries("angle", "Cos", "Sin", "Tan"),
  unary("exact", "IsInf", { form: "positive", attributes: { detect_negative: 0 } }),
  unary("exact", "IsInf", { form: "negative", attributes: { detect_positive: 0 } }),
  unary("exact", "Not", { booleans: 1 }),
  unary("exact", "Cast", { form: "to bool", attributes: { to: DataType.BOOL } }),
  unary("near", "Swish", { opset: 24 }),
  unary("near", "Gelu", { form: "tanh", attributes: { approximate: "tanh" } }),
  unary("rounded", "LeakyRelu", { attributes: { alpha: float(0.1) } }),
  unary("near", "Elu", { form: "alpha 2", attributes: { alpha: float(2) } }),
  unary("near", "Celu", { form: "alpha 2", attributes: { alpha: float(2) } }),
  unary("near", "HardSigmoid"),
  unary("near", "HardSigmoid", { form: "steep", attributes: { alpha: float(3), beta: float(-1) } }),
  unary("exact", "ThresholdedRelu"),
  unary("exact", "ThresholdedRelu", { form: "alpha -2", attributes: { alpha: float(-2) } }),
  unary("exact", "Shrink"),
  unary("exact", "Shrink", { form: "bias", attributes: { lambd: float(1), bias: float(1.5) } }),
  unary("exact", "Clip"),
  unary("exact", "Clip", { form: "between -1 and 2", constants: [-1, 2] }),
  unary("exact", "Clip", { form: "of relu6", constants: [0, 6] }),
  unary("exact", "Clip", { form: "from below", constants: [-2] }),
  unary("exact", "Clip", { form: "crossed", constants: [3, 1] }),
  unary("exact", "Clip", { form: "to Infinity", constants: [Infinity] }),
  unary("exact", "Clip", { form: "to one number", constants: [1, 1] }),
  unary("exact", "Clip", { form: "with infinite bounds", constants: [-Infinity, Infinity] }),
  ...binaries("rounded", "Add", "Sub", "Mul", "Div", "Sum", "Mean", "PRelu"),
  ...binaries("exact", "Max", "Min", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"),
  ...["And", "Or", "Xor"].map((op) => binary("exact", op, { booleans: 2 })),
  binary("near", "com.microsoft:BiasGelu"),
  binary("exact", "Mod", { form: "fmod 1", attributes: { fmod: 1 } }),
  special("exact", "Where", [pairs[1]!, ...pairs], { booleans: 1 }),
  binary("near", "Pow"),
  ...withConstant("near", "Pow", -3, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, Infinity, -Infinity, NaN),
  ...withConstant("exact", "Max", -Infinity, -0, 0, 1, Infinity, NaN),
  ...withConstant("exact", "Min", -Infinity, Infinity, -0, 0, 1, NaN),
  ...withConstant("rounded", "Div", -0, 0, 3, Infinity, NaN),
];

/** The graph of one operator: float32 inputs x0, x1, ... and the output y as float32. */
export function modelOf({ op, attributes, inputs, constants, opset, booleans }: SpecialCase): ModelProto {
  const [domain, type] = op.includes(":") ? op.split(":") : ["", op];
  const names = inputs.map((_, i) => `x${i}`);
  const stored = constants.map((_, i) => `constant${i}`);
  const read = names.map((name, i) => (i < booleans ? `${name} as bool` : name));
  return model(
    {
      inputs: names.map((name) => info(name, DataType.FLOAT, ["n"])),
      outputs: [info("y", DataType.FLOAT, ["n"])],
      initializers: constants.map((value, i) => floats(stored[i]!, [], [value])),
      nodes: [
        ...names.slice(0, booleans).map((name, i) => node("Cast", [name], [read[i]!], { to: DataType.BOOL })),
        node(type!, [...read, ...stored], ["result"], attributes, domain),
        node("Cast", ["result"], ["y"], { to: DataType.FLOAT }),
      ],
    },
    { opset },
  );
}
