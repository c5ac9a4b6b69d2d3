import type { AttentionSite } from "../attention/site.ts";

/**
 * What the operands, as they lie in the graph, must be multiplied by so that both query and key are their projections
 * times sqrt(scale) (d^(-1/4) for the usual scale): exporters put the scale on the query, on the key, on both or on
 * the logits, and the variance of random features depends on where it is.
 */
export function standardScales(site: AttentionSite): { readonly query: number; readonly key: number } {
  const root = Math.sqrt(site.logitScale * site.queryScale * site.keyScale);
  return { query: root / site.queryScale, key: root / site.keyScale };
}
