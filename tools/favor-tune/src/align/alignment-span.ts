import { valuesRead } from "@favor/onnx/graph";
import type { Graph } from "@favor/onnx/graph";

import type { AlignedValue } from "./alignment-teacher.ts";

/** A part of the model that is compared with the original's. */
export interface AlignmentSpan {
  /** The hidden state that it begins with, which the original gives; undefined: it begins with the tokens. */
  readonly given: string | undefined;
  /** Hidden states that are compared. */
  readonly states: readonly AlignedValue[];
  /** Outputs that are compared. */
  readonly outputs: readonly AlignedValue[];
  /** Its weight in the loss of a step. */
  readonly weight: number;
}

/** The whole model: all hidden states and outputs, from the tokens on. */
export function endToEnd(states: readonly AlignedValue[], outputs: readonly AlignedValue[]): AlignmentSpan {
  return { given: undefined, states, outputs, weight: 1 };
}

/**
 * Each layer alone, from the original's hidden state before it. Layers without a trained weight are left out.
 *
 * @param graph - the converted graph.
 * @param trained - names of the initializers that are trained.
 */
export function layerByLayer(
  states: readonly AlignedValue[],
  graph: Graph,
  trained: ReadonlySet<string>,
): AlignmentSpan[] {
  const spans = states.map((state, i) => ({ given: states[i - 1]?.name, states: [state], outputs: [] }));
  const learning = spans.filter((span) => depends(span.states[0]!.name, span.given, graph, trained));
  return learning.map((span) => ({ ...span, weight: 1 / learning.length }));
}

/** Whether a value depends on a trained weight other than through `given`. */
function depends(value: string, given: string | undefined, graph: Graph, trained: ReadonlySet<string>): boolean {
  const reached = new Set([value]);
  // The set grows while it is walked.
  for (const next of reached) {
    if (next === given) continue;
    if (trained.has(next)) return true;
    const node = graph.producer(next);
    if (node !== undefined) for (const read of valuesRead(node)) reached.add(read);
  }
  return false;
}
