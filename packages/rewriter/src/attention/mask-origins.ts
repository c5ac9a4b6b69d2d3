import type { NodeProto } from "@favor/onnx";
import type { Graph, GraphProbe } from "@favor/onnx/graph";
import { contentOperators } from "@favor/onnx/semantics";
import { FirstAbove } from "./first-above.ts";

const sortingOperators = new Set(["TopK", "ArgMax", "ArgMin", "Unique"]);
/** Operators of onnxruntime that compute the bias of T5 and of WavLM. */
const relativeBiases = new Set(["RelativePositionBias", "GatedRelativePositionBias"]);

/** Finds the nodes that decide about a mask before it is evaluated: the first of each kind above given values. */
export interface MaskOrigins {
  /** A node that makes the values depend on the content. Values that follow from shapes alone are not followed. */
  readonly content: FirstAbove;
  /** A node that sorts or hashes the content. Values that follow from shapes alone are not followed. */
  readonly sorting: FirstAbove;
  /** A node that computes a bias from the distance between query and key. */
  readonly relativeBias: FirstAbove;
}

const ofTypes =
  (types: { has(type: string): boolean }) =>
  ({ opType }: NodeProto): boolean =>
    types.has(opType);

/** @param outer the origins in the graph around a body */
export function maskOrigins(graph: Graph, first: GraphProbe, outer?: MaskOrigins): MaskOrigins {
  const isKnown = (value: string): boolean => first.info.get(value)?.value !== undefined;
  return {
    content: new FirstAbove(graph, ofTypes(contentOperators), isKnown, outer?.content),
    sorting: new FirstAbove(graph, ofTypes(sortingOperators), isKnown, outer?.sorting),
    relativeBias: new FirstAbove(graph, ofTypes(relativeBiases), () => false, outer?.relativeBias),
  };
}
