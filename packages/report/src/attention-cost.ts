import type { FavorSite } from "./record/favor-file.ts";

/** Sequence lengths at which the cost is shown. */
const lengths = [128, 256, 512, 1024, 2048, 4096, 8192, 16384];

/** The heads of an attention site, and the number of features that replace its softmax; 0 if it stays softmax. */
export interface SiteCost {
  readonly heads: number;
  readonly headDim: number;
  readonly features: number;
  /** Keys that a query sees, for attention that is computed within a window. */
  readonly keys?: number;
}

/**
 * Counts the multiply-adds of the attention of all sites by sequence length L, without projections and feed-forward
 * layers. Softmax: QK^T and PV, 2 L^2 d per head. Linear: Omega.Q and Omega.K, phi(K)^T [V 1] and phi(Q) times that,
 * 4 L M d per head (Choromanski et al. 2020, section 2.2). Within a window of W keys: 2 L W d per head.
 *
 * @returns for each length: [length, multiply-adds with softmax everywhere, multiply-adds as converted].
 */
export function attentionCost(sites: readonly SiteCost[]): [length: number, softmax: number, converted: number][] {
  return lengths.map((length) => {
    let softmax = 0;
    let converted = 0;
    for (const { heads, headDim, features, keys = length } of sites) {
      softmax += 2 * heads * length * length * headDim;
      const seen = Math.min(keys, length);
      converted += heads * length * headDim * (features === 0 ? 2 * seen : 4 * features);
    }
    return [length, softmax, converted];
  });
}

/** The sites of a conversion, for {@link attentionCost}. */
export function siteCosts({ sites }: { readonly sites: readonly FavorSite[] }): SiteCost[] {
  return sites.map(({ heads, headDim, featureMap, state, mask: { band } }) => ({
    heads,
    headDim,
    features: featureMap?.width ?? 0,
    ...(state === "band" && band !== undefined && { keys: band.before + 1 + band.after }),
  }));
}
