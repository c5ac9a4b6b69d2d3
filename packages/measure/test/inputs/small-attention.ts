import { DataType, encodeModel } from "@favor/onnx";
import type { ModelProto, NodeProto, ValueInfoProto } from "@favor/onnx";
import { float32, int64, list, node } from "@favor/test-support/nodes";
import { smallModel, valueInfo } from "@favor/test-support/small-model";

export const vocabulary = 40;
const width = 4;

/** What one attention over a table of 40 rows of width 4 takes besides its ids. */
export interface SmallAttention {
  /** Name and type of the ids. */
  readonly ids?: readonly [name: string, type: number];
  readonly lengthFirst?: boolean;
  readonly causal?: boolean;
  /** Another input with the nodes that make of it "bias", which is added to the logits [batch, length, length]. */
  readonly mask?: { readonly input: ValueInfoProto; readonly nodes: readonly NodeProto[] };
  /** Inputs that are looked up in tables of so many rows, which are added to the tokens'. */
  readonly lookedUp?: readonly (readonly [name: string, rows: number])[];
  /** Inputs that nothing reads. */
  readonly others?: readonly ValueInfoProto[];
  /** Sizes of the ids, where they are fixed. */
  readonly dims?: readonly (number | string)[];
  /** Makes the output [batch, width]: the mean over positions that "bias" does not hide. */
  readonly spoiled?: boolean;
}

const table = (rows: number, seed: number): ReturnType<typeof float32> =>
  float32(
    [rows, width],
    Array.from({ length: rows * width }, (_, i) => Math.sin(seed + i * i * 1.7 + i)),
  );

/** The bytes of the model; its output "out" is [batch, length, 4], or [length, batch, 4]. */
export function smallAttention(options: SmallAttention): Uint8Array {
  return encodeModel(modelOf(options));
}

const turn = (from: string, to: string, perm: number[]): NodeProto[] => [node("Transpose", [from], [to], { perm })];

function modelOf({
  ids: [ids, type] = ["input_ids", DataType.INT64],
  lengthFirst = false,
  causal = false,
  mask,
  lookedUp = [],
  others = [],
  dims = lengthFirst ? ["l", "b"] : ["b", "l"],
  spoiled = false,
}: SmallAttention): ModelProto {
  const nodes = [
    ...(lengthFirst ? turn(ids, "rows", [1, 0]) : [node("Identity", [ids], ["rows"])]),
    node("Gather", ["tokens", "rows"], ["embedded_0"]),
    ...lookedUp.flatMap(([name], i) => [
      ...(lengthFirst ? turn(name, `${name}_rows`, [1, 0]) : [node("Identity", [name], [`${name}_rows`])]),
      node("Gather", [`table_${name}`, `${name}_rows`], [`${name}_embedded`]),
      node("Add", [`embedded_${i}`, `${name}_embedded`], [`embedded_${i + 1}`]),
    ]),
    node("Identity", [`embedded_${lookedUp.length}`], ["x"]),
    node("MatMul", ["x", "weights"], ["query"]),
    ...turn("x", "keys", [0, 2, 1]),
    node("MatMul", ["query", "keys"], ["logits"]),
    ...(mask?.nodes ?? []),
    ...(mask === undefined
      ? [node("Identity", ["logits"], ["masked"])]
      : [node("Add", ["logits", "bias"], ["masked"])]),
    ...(causal
      ? [
          node("Shape", ["masked"], ["size"]),
          node("ConstantOfShape", ["size"], ["zeros"]),
          node("Add", ["zeros", "far"], ["all_far"]),
          node("Trilu", ["all_far", "one"], ["future"], { upper: 1 }),
          node("Add", ["masked", "future"], ["seen"]),
        ]
      : [node("Identity", ["masked"], ["seen"])]),
    node("Softmax", ["seen"], ["probabilities"], { axis: -1 }),
    node("MatMul", ["probabilities", "x"], ["context"]),
    node("Add", ["context", "x"], [lengthFirst ? "batch_first" : spoiled ? "whole" : "out"]),
    ...(lengthFirst ? turn("batch_first", "out", [1, 0, 2]) : []),
    ...(spoiled ? [node("Div", ["whole", "nothing"], ["out"])] : []),
  ];
  const constants = {
    tokens: table(vocabulary, 1),
    weights: table(width, 2),
    far: float32([], [-1e9]),
    nothing: float32([], [0]),
    big: float32([], [-1e9]),
    unit: float32([], [1]),
    axis1: list(1),
    axes12: list(1, 2),
    minus1: int64([], [-1]),
    ...Object.fromEntries(lookedUp.map(([name, rows], i) => [`table_${name}`, table(rows, 3 + i)])),
  };
  const inputs = [
    valueInfo(ids, type, dims),
    ...(mask === undefined ? [] : [mask.input]),
    ...lookedUp.map(([name]) => valueInfo(name, DataType.INT64, dims)),
    ...others,
  ];
  return smallModel(nodes, constants, ["out"], inputs);
}
