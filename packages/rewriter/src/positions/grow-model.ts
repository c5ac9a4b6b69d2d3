import { Graph } from "@favor/onnx/graph";
import type { ModelProto } from "@favor/onnx";
import { growPositions } from "./grow.ts";
import { longestInput } from "./longest-input.ts";

export interface GrowOptions {
  /** Longest input afterwards, in tokens. */
  readonly maxLength: number;
  /** "tile" (default): rows repeat. "interpolate": rows are stretched, which changes short inputs too. */
  readonly growth?: "tile" | "interpolate";
}

/**
 * Makes a model, converted or not, accept inputs of up to `maxLength` tokens. Changes the model in place.
 *
 * @returns one sentence per table, with its old and new number of rows
 * @throws GraphError "positions-cannot-grow", saying how the model stores its positions
 */
export function growModel(model: ModelProto, { maxLength, growth = "tile" }: GrowOptions): string[] {
  return growPositions(Graph.of(model), maxLength, growth);
}

/**
 * How long an input of a model may be, converted or not, in tokens: what its position tables hold, "unlimited" if none
 * sets a limit, or "unknown" if the graph does not show it.
 */
export function longestInputOf(model: ModelProto): number | "unlimited" | "unknown" {
  return longestInput(Graph.of(model));
}
