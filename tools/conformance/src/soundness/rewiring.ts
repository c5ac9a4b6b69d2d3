import Long from "long";
import { createMessage, tensorValues, type NodeProto } from "@favor/onnx";
import type { Bench } from "./bench.ts";
import type { Mutation } from "./mutation.ts";
import { neighbourhood, type Site } from "./sites.ts";

/** Operators that take the same operands and are easily confused. */
const families: readonly (readonly string[])[] = [
  "Greater Less GreaterOrEqual LessOrEqual Equal",
  "And Or Xor",
  "Add Sub Mul Div Min Max",
  "ReduceMax ReduceSum ReduceMin ReduceMean",
  "Relu Tanh Neg Identity Exp Abs",
  "Softmax LogSoftmax Hardmax Identity",
].map((family) => family.split(" "));
const familyOf = ({ opType }: NodeProto): readonly string[] | undefined =>
  families.find((family) => family.includes(opType));

const constants: readonly ((value: number) => number)[] = [
  (v) => 2 * v,
  (v) => v + 1,
  (v) => v - 1,
  (v) => -v,
  () => 0,
  () => 1,
  () => -1,
  () => 5,
  () => -30,
  () => -1e4,
  () => -Infinity,
];

/** FLOAT, INT32, INT64, BOOL and FLOAT16; quantised values stay. */
const changeable = new Set([1, 6, 7, 9, 10]);
/** How far above the products, and among what makes the mask, nodes are changed. */
const reach = 14;
const mostElements = 4096;

const near = (bench: Bench, site: Site): NodeProto[] => neighbourhood(bench, site, reach);

function changeConstant(bench: Bench, site: Site): boolean {
  const candidates = near(bench, site).flatMap((node) =>
    node.input.flatMap((value, at) => {
      const count = bench.tensor(value)?.dims.reduce((a, d) => a * d.toNumber(), 1);
      return count !== undefined && count > 0 && count <= mostElements ? [{ node, value, at }] : [];
    }),
  );
  // Scalars decide masks and scales; there are many more weights.
  const small = candidates.filter(({ value }) => bench.numbers(value)!.length <= 4);
  const chosen = bench.choices.of(bench.choices.chance(0.85) && small.length > 0 ? small : candidates);
  if (chosen === undefined) return false;
  const { dims, dataType, data } = tensorValues(bench.tensor(chosen.value)!);
  if (!changeable.has(dataType)) return false;
  const values = Array.from(data as ArrayLike<number | bigint>, Number);
  const change = bench.choices.of(constants)!;
  const isFloat = dataType === 1 || dataType === 10;
  if (dataType === 9) values.forEach((value, i) => (values[i] = 1 - value));
  else if (bench.choices.chance(0.7)) {
    const at = bench.choices.below(values.length);
    values[at] = change(values[at]!);
  } else values.forEach((value, i) => (values[i] = change(value)));
  if (!isFloat && !values.every(Number.isFinite)) return false;
  chosen.node.input[chosen.at] = bench.constant(dataType, dims, values);
  return true;
}

function changeAttribute(bench: Bench, site: Site): boolean {
  const candidates = near(bench, site).flatMap((node) =>
    node.attribute.filter(({ type }) => type === 2 || type === 7 || type === 1).map((attr) => attr),
  );
  const attr = bench.choices.of(candidates);
  if (attr === undefined) return false;
  if (attr.type === 1) attr.f = bench.choices.of([attr.f * 2, -attr.f, attr.f + 1, 0])!;
  else if (attr.type === 2) attr.i = Long.fromNumber(bench.choices.of([-2, -1, 0, 1, 2, 3])!);
  else if (attr.ints.length > 1) {
    const [a, b] = [bench.choices.below(attr.ints.length), bench.choices.below(attr.ints.length)];
    const ints = [...attr.ints];
    [ints[a], ints[b]] = [ints[b]!, ints[a]!];
    attr.ints = ints;
  } else attr.ints = [Long.fromNumber(bench.choices.of([-2, -1, 0, 1, 2, 3])!)];
  return true;
}

function changeOperator(bench: Bench, site: Site): boolean {
  const node = bench.choices.of(near(bench, site).filter((candidate) => familyOf(candidate) !== undefined));
  if (node === undefined) return false;
  const opType = bench.choices.of(familyOf(node)!.filter((type) => type !== node.opType))!;
  node.opType = opType;
  return true;
}

function exchangeInputs(bench: Bench, site: Site): boolean {
  const binary = near(bench, site).filter(({ input, opType }) => input.length === 2 && opType !== "Reshape");
  const where = near(bench, site).filter(({ opType }) => opType === "Where");
  const node = bench.choices.of(where.length > 0 && bench.choices.chance(0.4) ? where : binary);
  if (node === undefined) return false;
  const [a, b, c] = node.input as [string, string, string | undefined];
  node.input = c === undefined ? [b, a] : [a, c, b];
  return true;
}

function passBy(bench: Bench, site: Site): boolean {
  const candidates = near(bench, site).flatMap((node) => {
    const dims = bench.dims(node.output[0]!).join();
    return node.input
      .filter((value) => bench.shape(value) && bench.dims(value).join() === dims)
      .map((value) => [node, value] as const);
  });
  const chosen = bench.choices.of(candidates);
  if (chosen === undefined) return false;
  const [node, value] = chosen;
  bench.insertAfter(node.output[0]!, () => value);
  return true;
}

function replaceInput(bench: Bench, site: Site): boolean {
  const node = bench.choices.of(near(bench, site));
  if (node === undefined) return false;
  const at = bench.choices.below(node.input.length);
  const shape = bench.shape(node.input[at]!);
  if (shape === undefined) return false;
  const alike = bench.values.filter((value) => {
    const other = bench.shape(value)!;
    return value !== node.input[at] && other.dataType === shape.dataType && other.dims.join() === shape.dims.join();
  });
  // A cycle of nodes is refused by the runtime, and the case is none.
  const value = bench.choices.of(alike);
  if (value === undefined) return false;
  node.input[at] = value;
  return true;
}

function exchangeOperands(bench: Bench, site: Site): boolean {
  const valueAt = 1 - site.probabilitiesAt;
  const [query, key, value] = [site.logits.input[0]!, site.logits.input[1]!, site.output.input[valueAt]!];
  const flipped = (from: string): string => {
    const rank = bench.dims(from).length;
    const perm = Array.from({ length: rank }, (_, i) => (i < rank - 2 ? i : 2 * rank - 3 - i));
    return bench.op("Transpose", [from], { perm });
  };
  const chosen = bench.choices.below(4);
  if (chosen === 0) site.logits.input = [flipped(key), flipped(query)];
  else if (chosen === 1) site.logits.input[0] = value;
  else if (chosen === 2) site.output.input[valueAt] = query;
  else site.output.input[valueAt] = bench.choices.chance(0.5) ? key : flipped(key);
  return true;
}

function exposeValue(bench: Bench, site: Site): boolean {
  const value = bench.choices.of([...site.before, ...site.after])!;
  if (bench.graph.output.some(({ name }) => name === value)) return false;
  bench.graph.output.push(createMessage("ValueInfoProto", { name: value }));
  return true;
}

/** What goes on from the attention also depends on its probabilities or logits in another way. */
function useTwice(bench: Bench, site: Site): boolean {
  const value = bench.choices.of([...site.before.slice(-1), ...site.after])!;
  const dims = bench.dims(site.output.output[0]!);
  if (dims.length !== bench.dims(value).length) return false;
  bench.insertAfter(site.output.output[0]!, (made) => {
    const top = bench.op(
      "Softmax",
      [bench.op("Slice", [value, bench.integers(0), bench.integers(1), bench.integers(dims.length - 1)])],
      { axis: dims.length - 2 },
    );
    return bench.op("Add", [made, top], {}, made);
  });
  return true;
}

function changeEquation(bench: Bench, site: Site): boolean {
  const node = bench.choices.of([site.logits, site.output].filter(({ opType }) => opType === "Einsum"));
  const attr = node?.attribute.find(({ name }) => name === "equation");
  if (attr === undefined) return false;
  const letters = [...new TextDecoder().decode(attr.s)];
  const at = letters.flatMap((letter, i) => (/[a-z]/i.test(letter) ? [i] : []));
  const [a, b] = [bench.choices.of(at)!, bench.choices.of(at)!];
  [letters[a], letters[b]] = [letters[b]!, letters[a]!];
  attr.s = new TextEncoder().encode(letters.join(""));
  return true;
}

/** Two sizes of a constant target are exchanged. */
function reshapeOtherwise(bench: Bench, site: Site): boolean {
  const node = bench.choices.of(
    near(bench, site).filter(({ opType, input }) => opType === "Reshape" && bench.isConstant(input[1]!)),
  );
  if (node === undefined) return false;
  const target = bench.numbers(node.input[1]!)!;
  const [a, b] = [bench.choices.below(target.length), bench.choices.below(target.length)];
  [target[a], target[b]] = [target[b]!, target[a]!];
  node.input[1] = bench.integers(...target);
  return true;
}

/** Changes of constants, attributes, operators and wiring among the nodes that make an attention. */
export const rewirings: readonly Mutation[] = [
  { name: "constant changed", apply: changeConstant },
  { name: "attribute changed", apply: changeAttribute },
  { name: "operator changed", apply: changeOperator },
  { name: "inputs exchanged", apply: exchangeInputs },
  { name: "node passed by", apply: passBy },
  { name: "input replaced", apply: replaceInput },
  { name: "operands exchanged", apply: exchangeOperands },
  { name: "logits or probabilities as an output", apply: exposeValue },
  { name: "logits or probabilities used twice", apply: useTwice },
  { name: "equation changed", apply: changeEquation },
  { name: "reshaped otherwise", apply: reshapeOtherwise },
];
