import { Graph } from "@favor/onnx/graph";
import type { ModelProto } from "@favor/onnx";
import { growPositions } from "./grow.ts";

export interface GrowOptions {
  /** Longest input afterwards, in tokens. */
  readonly maxLength: number;
  /** "tile" (default): rows repeat. "interpolate": rows are stretched, which changes short inputs too. */
  readonly growth?: "tile" | "interpolate";
}

/**
 * Lets a model, converted or not, take inputs of up to `maxLength` tokens. The model is changed in place.
 *
 * @returns what grew from what to what, a sentence each
 * @throws GraphError "positions-cannot-grow", with the form that holds the positions
 */
export function growModel(model: ModelProto, { maxLength, growth = "tile" }: GrowOptions): string[] {
  return growPositions(Graph.of(model), maxLength, growth);
}
