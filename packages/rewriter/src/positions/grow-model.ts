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
 * Makes a model, converted or not, accept inputs of up to `maxLength` tokens. Changes the model in place.
 *
 * @returns one sentence per table, with its old and new number of rows
 * @throws GraphError "positions-cannot-grow", saying how the model stores its positions
 */
export function growModel(model: ModelProto, { maxLength, growth = "tile" }: GrowOptions): string[] {
  return growPositions(Graph.of(model), maxLength, growth);
}
