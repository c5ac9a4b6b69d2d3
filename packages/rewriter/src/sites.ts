import type { FoundAttention } from "./attention/find.ts";
import { findAttention } from "./attention/find.ts";
import type { FoundSite } from "./attention/site.ts";
import type { Graph } from "@favor/onnx/graph";
import { moveTemperatures } from "./normalise/temperature.ts";
import { separateHeads } from "./attention/joined-heads.ts";
import { withUsualScale } from "./attention/usual-scale.ts";

/**
 * All softmax attention of a normalised graph as it is converted, calibrated and reported: see {@link findAttention}.
 * Temperatures of heads are moved from the logits to the queries, which changes the graph and no result.
 *
 * @param most operations that evaluating all masks may take
 */
export function findSites(graph: Graph, most?: number): FoundAttention {
  moveTemperatures(graph);
  const { sites, notes } = findAttention(graph, most);
  const separated = sites.map((found): FoundSite => {
    return "site" in found ? { ...found, site: separateHeads(found.context, withUsualScale(found.site)) } : found;
  });
  return { sites: separated, notes };
}
