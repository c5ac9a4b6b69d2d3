import type { FoundAttention } from "./attention/find.ts";
import { searchAttention } from "./attention/find.ts";
import type { FoundSite } from "./attention/site.ts";
import type { Graph } from "@favor/onnx/graph";
import { separateHeads } from "./attention/joined-heads.ts";
import { withUsualScale } from "./attention/usual-scale.ts";

/**
 * All softmax attention of a normalised graph as it is converted, calibrated and reported: see {@link searchAttention}.
 *
 * @param most operations that evaluating all masks may take
 */
export function findSites(graph: Graph, most?: number): FoundAttention {
  const { sites, notes } = searchAttention(graph, most);
  const separated = sites.map((found): FoundSite => {
    return "site" in found ? { ...found, site: separateHeads(found.context, withUsualScale(found.site)) } : found;
  });
  return { sites: separated, notes };
}
