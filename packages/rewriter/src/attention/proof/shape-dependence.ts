import { DataType } from "@favor/onnx";
import { movingOperators } from "@favor/onnx/semantics";
import { ancestors, type GraphProbe } from "@favor/onnx/graph";
import type { MaskQuestion } from "./window-proof.ts";

/** What reads sizes and hands them on as they are. */
const handsOn: ReadonlySet<string> = new Set(["Shape", "Size", "Concat", ...movingOperators]);
/** Values followed from one that the region reads. */
const mostValues = 256;

/** Operators that lay a condition or a factor over a whole mask; positions and lengths are compared and added otherwise. */
const layOver: ReadonlySet<string> = new Set("And Or Xor Where Mul Div Pow Max Min".split(" "));

/**
 * A number or a condition of one size at all lengths and batches, computed from the length or the batch, that the region
 * reads or that is laid over a mask on its way there: a scale, an offset or a switch that may change where no evaluation
 * reaches, as beyond 100,000 tokens, with a batch of 16, or at 777 tokens alone. Undefined if there is none.
 */
export function sizeDependence({ context, inputs }: MaskQuestion): string | undefined {
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
  for (const { opType, input, output } of ancestors(graph, inputs.values)) {
    if (!layOver.has(opType)) continue;
    const [one, two] = [first, second].map((probe) => probe.info.get(output[0]!)?.dims.join());
    const laid = one === two ? undefined : input.find(isSuspect);
    if (laid !== undefined) return laid;
  }
  return undefined;
}

const isKnown = (probe: GraphProbe, value: string): boolean => probe.info.get(value)?.value !== undefined;
