import { DataType, type NodeProto } from "@favor/onnx";
import { ancestors } from "@favor/onnx/graph";
import { comparisons, movingOperators } from "@favor/onnx/semantics";
import { steadyValue } from "../context.ts";
import type { MaskQuestion } from "./window-proof.ts";

/** What reads sizes and hands them on as they are. */
const handsOn: ReadonlySet<string> = new Set(["Shape", "Size", "Concat", ...movingOperators]);
const wholeTypes: ReadonlySet<number | undefined> = new Set([DataType.INT64, DataType.INT32]);
/** Values followed from one that the region reads. */
const mostValues = 256;

/** Operators by which a length is told from others; what follows from them may differ at one length, or in large batches. */
const deciding: ReadonlySet<string> = new Set([
  ...comparisons,
  ..."Mod Div Min Max Clip Sign Floor Round Ceil".split(" "),
]);
/** Operators whose further inputs are shapes and bounds. */
const shaped: ReadonlySet<string> = new Set("Expand Reshape Slice Tile Pad Resize Gather Unsqueeze Squeeze".split(" "));
/** Operators that make a value of the size that their inputs say. */
const sized: ReadonlySet<string> = new Set(["ConstantOfShape", "Range"]);

/** The inputs that are computed with, shapes and bounds left out. */
function computedWith({ opType, input }: NodeProto): readonly string[] {
  if (sized.has(opType)) return [];
  return shaped.has(opType) ? input.slice(0, 1) : input.filter((value) => value !== "");
}

/**
 * A number or a condition of one size at all lengths and batches, computed from the length or the batch, that the region
 * reads or that is laid over a mask on its way there: a scale, an offset or a switch that may change where no evaluation
 * reaches, as beyond 100,000 tokens, with a batch of 16, or at 777 tokens alone. Undefined if there is none.
 */
export function sizeDependence({ context, inputs, region }: MaskQuestion): string | undefined {
  const { graph, first, second } = context;
  if (second === undefined) return undefined;
  const isKnown = (value: string): boolean => first.info.get(value)?.value !== undefined;
  const grows = (value: string): boolean => first.info.get(value)?.dims.join() !== second.info.get(value)?.dims.join();
  const isSteady = (value: string): boolean =>
    !isKnown(value) || second.info.get(value)?.value === undefined || steadyValue(context, value) !== undefined;
  const producer = (value: string): NodeProto | undefined => graph.owner(value)?.producer(value);
  let followed = 0;
  /** Whether a length or the batch is among what a value is computed from. */
  const depends = lookedAtOnce((value) => {
    const node = producer(value);
    if (node === undefined || !isKnown(value) || followed++ >= mostValues) return false;
    return handsOn.has(node.opType) ? !isSteady(value) : node.input.some((name) => name !== "" && depends(name));
  });
  /** Whether a value of one size follows from a comparison with a length or the batch. */
  const isDecided = lookedAtOnce((value) => {
    const node = producer(value);
    if (node === undefined || !isKnown(value) || grows(value)) return false;
    const isDeciding = deciding.has(node.opType) && node.input.some((name) => name !== "" && depends(name));
    return isDeciding || computedWith(node).some(isDecided);
  });
  // Integers are the shapes and bounds that Reshape, Expand and Slice take.
  const isWhole = (value: string): boolean => wholeTypes.has(first.info.get(value)?.dataType);
  const read = inputs.values.find((value) => isKnown(value) && !grows(value) && !isWhole(value) && depends(value));
  if (read !== undefined) return read;
  for (const node of [...ancestors(graph, inputs.values), ...region.nodes]) {
    const laid = grows(node.output[0]!) ? computedWith(node).find(isDecided) : undefined;
    if (laid !== undefined) return laid;
  }
  return undefined;
}

/** A test of values that follows wires: each value is tested once, and none that leads back to itself passes. */
function lookedAtOnce(test: (value: string) => boolean): (value: string) => boolean {
  const found = new Map<string, boolean>();
  return (value) => {
    const before = found.get(value);
    if (before !== undefined) return before;
    found.set(value, false);
    const passes = test(value);
    found.set(value, passes);
    return passes;
  };
}

/** Positions below it are looked at one by one. */
const farPosition = 512;

/**
 * A number on the way to the mask that single positions are compared with, and that lies beyond those that are looked at
 * one by one: a query of its own there. Undefined if there is none. Distances are no single positions.
 */
export function comparedPosition({ context, inputs }: MaskQuestion): number | undefined {
  const { graph, first, second, dynamic } = context;
  if (second === undefined) return undefined;
  const isPosition = (value: string): boolean => {
    const [one, two] = [first, second].map((probe) => probe.info.get(value)?.dims);
    const growing = one?.filter((dim, axis) => dim !== two?.[axis]).length;
    return growing === 1 && one!.length === two?.length && !dynamic.has(value);
  };
  const farAt = (value: string): number | undefined => {
    const [at, ...others] = steadyValue(context, value)?.data ?? [];
    if (at === undefined || others.length > 0) return undefined;
    return Math.abs(at) >= farPosition && Math.abs(at) < 2 ** 31 - 1 ? at : undefined;
  };
  for (const { opType, input } of ancestors(graph, inputs.values)) {
    if (!comparisons.has(opType) || !input.some(isPosition)) continue;
    const far = input.map(farAt).find((at) => at !== undefined);
    if (far !== undefined) return far;
  }
  return undefined;
}
