import type { Graph } from "@favor/onnx/graph";

import { isFeatureInitializer } from "./feature-initializers.ts";
import { TuneInputError } from "../errors.ts";
import type { TrainedPart } from "../request.ts";
import { residualBranches } from "./residuals.ts";
import { trainableInitializers } from "./trainable.ts";

/**
 * The initializers that `--train` selects, and whether weight decay applies to each: `all` weights, those of the
 * `attention` branches (projections, feature maps, and norms inside the branch), or only `features`.
 *
 * @throws {TuneInputError} `nothing-to-train`.
 */
export function trainedInitializers(graph: Graph, part: TrainedPart): ReadonlyMap<string, boolean> {
  const isWanted = part === "all" ? () => true : part === "features" ? isFeatureInitializer : inAttention(graph);
  const chosen = trainableInitializers(graph).filter(({ name }) => isWanted(name));
  if (chosen.length === 0) {
    throw new TuneInputError(`The model has no weight that --train ${part} would change. Choose another part.`, {
      code: "nothing-to-train",
      details: { part },
    });
  }
  return new Map(chosen.map(({ name, decays }) => [name, decays]));
}

function inAttention(graph: Graph): (name: string) => boolean {
  const names = new Set(
    residualBranches(graph).flatMap(({ attends, nodes }) =>
      attends ? nodes.flatMap((node) => carried(node, graph)) : [],
    ),
  );
  return (name) => names.has(name) || isFeatureInitializer(name);
}

function carried({ input }: { readonly input: readonly string[] }, graph: Graph): string[] {
  return input.filter((value) => graph.initializer(value) !== undefined);
}
