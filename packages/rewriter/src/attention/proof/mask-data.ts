import { DataType, type NodeProto } from "@favor/onnx";
import { isInteger } from "@favor/onnx/evaluate";
import { describeNode, readsData, type Graph, type GraphProbe } from "@favor/onnx/graph";
import { comparisons, copyingOperators } from "@favor/onnx/semantics";
import { reasonFor, type Reason } from "../../refusals/reason.ts";
import { countSteps } from "../context.ts";
import type { KeyMask, MaskVerdict } from "../site.ts";
import type { MaskQuestion } from "./window-proof.ts";

/** What a value on the way to a mask holds of what the model is fed. */
interface Data {
  /** True or false, or made of such values element by element: evaluations have seen all that it can be. */
  readonly isFlag: boolean;
  /** Not a number for each position, but one for a whole sequence: a length, a sum, the first token. */
  readonly isOfItem: boolean;
}

type OfValue = (value: string) => Data | undefined;

const set = (names: string): ReadonlySet<string> => new Set(names.split(" "));
const logic = set("And Or Xor Not IsNaN IsInf");
/** What masks are made with out of numbers, besides comparisons: `(1 - mask) * -1e4`. */
const affine = set("Add Sub Mul Neg Cast CastLike Where");
const bounds = set("Max Min Clip");
/** What lengths are computed with: convolutions shorten them. */
const lengthArithmetic = set("Div Mod Floor Ceil");
const ofFlags = set("Abs Exp Log Pow Reciprocal Relu Round Sign Sqrt");
const elementwise = new Set([...comparisons, ...logic, ...affine, ...bounds, ...lengthArithmetic, ...ofFlags]);
const reductions = set("ReduceSum ReduceMax ReduceMin");
const placing = set("GatherND GatherElements ScatterND ScatterElements Range");
/** The second counts the padding mask's ones. */
const counting = set("CumSum EmbedLayerNormalization");
const known = new Set([
  ...comparisons,
  ...logic,
  ...affine,
  ...copyingOperators,
  ...reductions,
  ...placing,
  ...counting,
]);
/** A number that is added to hide a key, or bounds what hides it. */
const hidesKeys = 1e3;

/**
 * Follows what the model is fed on its way to a mask, through operators whose effect on masks is known: comparisons,
 * logic, sums, products, and what moves elements. Where another operator takes part, the mask may differ for inputs that
 * no evaluation has seen. So it may where one number for a whole sequence has a say, such as the mean of its tokens or the
 * first of them, unless it is held against positions, as lengths are.
 *
 * @param mask what was found: a position may be multiplied by whether its key counts, as in BLOOM
 * @returns the first part of the mask that is neither; undefined if there is none
 */
export function unknownData(question: MaskQuestion, { keyMask, alibi }: MaskVerdict): Reason | undefined {
  const { context, inputs } = question;
  const { graph, dynamic, first } = context;
  const isOfItem = itemTest(question);
  const found = new Map<string, Data>();
  const of: OfValue = (value) => found.get(value);
  const isRead = (value: string): boolean => value !== "" && dynamic.has(value);
  const pending = inputs.values.filter(isRead);
  for (let value = pending.at(-1); value !== undefined; value = pending.at(-1)) {
    countSteps(context);
    const node = found.has(value) ? undefined : graph.owner(value)?.producer(value);
    const read = node === undefined ? [] : [...readsData(node)].filter(isRead);
    const missing = read.filter((name) => !found.has(name));
    if (missing.length > 0) {
      for (const name of missing) pending.push(name);
      continue;
    }
    pending.pop();
    if (found.has(value)) continue;
    const isBoolean = first.info.get(value)?.dataType === DataType.BOOL;
    if (node === undefined) {
      found.set(value, { isFlag: isBoolean, isOfItem: isOfItem(value) });
      continue;
    }
    const reason = unknownEffect(question, node, of, isOfItem, alibi && keyMask);
    if (reason !== undefined) return reason;
    const data = read.map((name) => of(name)!);
    const moves = elementwise.has(node.opType) || copyingOperators.has(node.opType);
    found.set(value, {
      isFlag: isBoolean || (moves && data.every(({ isFlag }) => isFlag)),
      isOfItem: isOfItem(value) || (moves && isOneOfItem(node, of, isOfItem)),
    });
  }
  const item = inputs.values.find((value) => of(value)?.isOfItem);
  if (item === undefined) return undefined;
  return reasonFor("mask-from-data", `The attention is computed with "${item}", one number for a whole sequence.`);
}

/** Whether an elementwise or copying node makes one number for a sequence, however often it is repeated. */
function isOneOfItem({ opType, input }: NodeProto, of: OfValue, isOfItem: (value: string) => boolean): boolean {
  if (copyingOperators.has(opType) && opType !== "Concat") return of(input[0]!)?.isOfItem === true;
  return input.every((name) => name === "" || (of(name)?.isOfItem ?? isOfItem(name)));
}

/** Why a node that reads what the model is fed may have effects that no evaluation shows. */
function unknownEffect(
  question: MaskQuestion,
  node: NodeProto,
  of: OfValue,
  isOfItem: (value: string) => boolean,
  keyMask: KeyMask | undefined,
): Reason | undefined {
  const { opType } = node;
  const data = [...readsData(node)].flatMap((name) => of(name) ?? []);
  const areItems = data.every((one) => one.isOfItem);
  const isMasking =
    keyMask !== undefined && node.input.some((value) => isCopyOf(question.context.graph, value, keyMask.value));
  if (!isKnown(question, node, of) || (!isMasking && multipliesNumbers(question, node, of))) {
    const found = `${describeNode(node)} computes the mask from what the model is fed, and Favor does not know its effect for all inputs.`;
    return reasonFor("mask-from-data", found);
  }
  const isSpread = elementwise.has(opType) && data.some((one) => one.isOfItem) && !isOneOfItem(node, of, isOfItem);
  if (!isSpread || (areItems && (comparisons.has(opType) || isIntegerSum(question, node)))) return undefined;
  const found = `${describeNode(node)} changes the mask by one number for a whole sequence.`;
  return reasonFor("mask-from-data", found);
}

/** Zero, one and what hides keys bound nothing else than masks do. */
const isOfMask = (bound: number): boolean => bound === 0 || bound === 1 || Math.abs(bound) >= hidesKeys;

function isKnown({ context: { first } }: MaskQuestion, node: NodeProto, of: OfValue): boolean {
  const { opType, input } = node;
  if (known.has(opType)) return true;
  const data = input.flatMap((name) => of(name) ?? []);
  if (data.every(({ isFlag }) => isFlag) && elementwise.has(opType)) return true;
  if (data.every((one) => one.isOfItem) && (lengthArithmetic.has(opType) || bounds.has(opType))) return true;
  const isBound = (name: string): boolean => first.info.get(name)?.value?.data.every(isOfMask) === true;
  return bounds.has(opType) && input.every((name) => name === "" || of(name) !== undefined || isBound(name));
}

/** A product of two numbers of each position, whose value at numbers beyond one those of zero and one do not show. */
function multipliesNumbers({ context: { first } }: MaskQuestion, { opType, input }: NodeProto, of: OfValue): boolean {
  const [one, two] = input.map((name) => of(name));
  if (opType !== "Mul" || !one || !two || [one, two].some((data) => data.isFlag || data.isOfItem)) return false;
  const [left, right] = input.map((name) => first.info.get(name)?.dims ?? []);
  return left!.some((size, axis) => size > 1 && size !== first.sizes.batch && right!.at(axis - left!.length) === size);
}

/** Whether a value is another one, moved or cast. */
function isCopyOf(graph: Graph, value: string, other: string): boolean {
  const node = graph.owner(value)?.producer(value);
  if (value === other || node === undefined) return value === other;
  const isCopy = copyingOperators.has(node.opType) && node.opType !== "Concat" && node.opType !== "Gather";
  return (isCopy || node.opType === "Cast") && isCopyOf(graph, node.input[0]!, other);
}

/** A sum of whole numbers, as of a position and an offset. */
function isIntegerSum({ context: { first } }: MaskQuestion, { opType, output }: NodeProto): boolean {
  const dataType = first.info.get(output[0]!)?.dataType;
  return (opType === "Add" || opType === "Sub") && dataType !== undefined && isInteger(dataType);
}

const dimsAt = (probe: GraphProbe | undefined, value: string): readonly number[] | undefined =>
  probe?.info.get(value)?.dims;

/** Says of a value whether it has no axis of positions: at most one number for each item of the batch. */
function itemTest({ context, region, labels }: MaskQuestion): (value: string) => boolean {
  const { first, second } = context;
  const [one, two] = [first, second].map((probe) => dimsAt(probe, region.logits.output.value));
  const positions = [labels.logits.query, labels.logits.key].map((label) => labels.logits.labels.indexOf(label));
  /** Lengths that are the same in every input. */
  const fixed = new Set(positions.flatMap((axis) => (one && (!two || one[axis] === two[axis]) ? [one[axis]!] : [])));
  return (value) => {
    const sizes = dimsAt(first, value);
    const others = dimsAt(second, value) ?? sizes;
    return (
      sizes?.every((size, axis) => {
        // Exporters fold the batch into positions.
        if (size === others![axis]) return size === 1 || ![...fixed].some((length) => size % length === 0);
        // Heads may lie on the axis of the batch.
        return others![axis]! * first.sizes.batch === size * second!.sizes.batch;
      }) ?? false
    );
  };
}
