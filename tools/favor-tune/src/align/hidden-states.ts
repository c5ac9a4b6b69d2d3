import type { Graph } from "@favor/onnx/graph";

import { residualBranches } from "../model/residuals.ts";

/**
 * Finds the hidden states of a model: for each layer, the value that holds all that later layers know of it. This is the
 * last residual sum before the next attention.
 *
 * @param original - the graph with softmax, where attention is found.
 * @param converted - hidden states that this graph does not compute by the same operator are left out.
 * @returns names of values, in the order of data flow, one per layer; none where attention lies inside a body.
 */
export function hiddenStates(original: Graph, converted: Graph): string[] {
  const layers: string[] = [];
  let attended = false;
  for (const { addition, attends } of residualBranches(original)) {
    const [state = "", , , sum = ""] = addition.output;
    // A fused norm that also hands on the sum has two values, and neither holds all.
    const holdsAll = addition.opType === "Add" || sum === "";
    const isSame = converted.producer(state)?.opType === addition.opType;
    if (attends) attended = true;
    if (!attended || !holdsAll || !isSame) continue;
    if (attends) layers.push(state);
    else layers[layers.length - 1] = state;
  }
  return layers;
}
