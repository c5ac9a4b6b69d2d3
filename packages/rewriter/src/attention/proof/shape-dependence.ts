import { DataType } from "@favor/onnx";
import { movingOperators } from "@favor/onnx/semantics";
import { ancestors, type GraphProbe } from "@favor/onnx/graph";
import type { NodeProto } from "@favor/onnx";
import type { MaskQuestion } from "./window-proof.ts";

/** What reads sizes and hands them on as they are. */
const handsOn: ReadonlySet<string> = new Set(["Shape", "Size", "Concat", ...movingOperators]);
/** Values followed from one that the region reads. */
const mostValues = 256;

/** Operators by which a length is told from others; what follows from them may differ at one length, or in large batches. */
const deciding: ReadonlySet<string> = new Set(
  "Equal Less LessOrEqual Greater GreaterOrEqual Mod Div Min Max Clip Sign Floor Round Ceil".split(" "),
);
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
  const isSteady = (value: string): boolean => {
    const [one, two] = [first, second].map((probe) => first.info.get(value) && probe.info.get(value)?.value?.data);
    return one === undefined || two === undefined || one.join() === two.join();
  };
  let followed = 0;
  const known = new Map<string, boolean>();
  const depends = (value: string): boolean => {
    const before = known.get(value);
    if (before !== undefined) return before;
    known.set(value, false);
    const node = graph.owner(value)?.producer(value);
    const isComputed = node !== undefined && isKnown(first, value) && followed++ < mostValues;
    const found =
      isComputed && (handsOn.has(node.opType) ? !isSteady(value) : node.input.some((name) => name && depends(name)));
    known.set(value, found);
    return found;
  };
  const isSuspect = (value: string): boolean => {
    const [one, two] = [first, second].map((probe) => probe.info.get(value));
    if (one === undefined || two === undefined || one.dims.join() !== two.dims.join()) return false;
    // Integers are the shapes and bounds that Reshape, Expand and Slice take.
    if (one.dataType === DataType.INT64 || one.dataType === DataType.INT32) return false;
    return isKnown(first, value) && depends(value);
  };
  const found = inputs.values.find(isSuspect);
  if (found !== undefined) return found;
  const decided = new Map<string, boolean>();
  /** Whether a value of one size follows from a comparison with a length or the batch. */
  const isDecided = (value: string): boolean => {
    const before = decided.get(value);
    if (before !== undefined) return before;
    decided.set(value, false);
    const node = graph.owner(value)?.producer(value);
    if (node === undefined || !isKnown(first, value) || grows(value)) return false;
    const follows =
      (deciding.has(node.opType) && node.input.some((name) => name !== "" && depends(name))) ||
      computedWith(node).some(isDecided);
    decided.set(value, follows);
    return follows;
  };
  const grows = (value: string): boolean => first.info.get(value)?.dims.join() !== second.info.get(value)?.dims.join();
  for (const node of [...ancestors(graph, inputs.values), ...region.nodes]) {
    const laid = grows(node.output[0]!) ? computedWith(node).find(isDecided) : undefined;
    if (laid !== undefined) return laid;
  }
  return undefined;
}

/** Positions below it are looked at one by one. */
const farPosition = 512;
const comparing: ReadonlySet<string> = new Set(["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"]);

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
    const [one, two] = [first, second].map((probe) => probe.info.get(value)?.value?.data);
    if (one?.length !== 1 || two?.length !== 1 || one[0] !== two[0]) return undefined;
    return Math.abs(one[0]!) >= farPosition && Math.abs(one[0]!) < 2 ** 31 - 1 ? one[0] : undefined;
  };
  for (const { opType, input } of ancestors(graph, inputs.values)) {
    if (!comparing.has(opType) || !input.some(isPosition)) continue;
    const far = input.map(farAt).find((at) => at !== undefined);
    if (far !== undefined) return far;
  }
  return undefined;
}

const isKnown = (probe: GraphProbe, value: string): boolean => probe.info.get(value)?.value !== undefined;
