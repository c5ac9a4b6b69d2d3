import type { AttentionSite } from "../attention/site.ts";

/**
 * The factors that turn the operands, as they lie in the graph, into their projections times sqrt(scale) (d^(-1/4) for
 * the usual scale). Exporters put the scale on the query, on the key, on both or on the logits, and the variance of random
 * features depends on where it is.
 */
export function standardScales(site: AttentionSite): { readonly query: number; readonly key: number } {
  const root = Math.sqrt(site.logitScale * site.queryScale * site.keyScale);
  return { query: root / site.queryScale, key: root / site.keyScale };
}
