import type { FavorSite } from "./record/favor-file.ts";

/** Sequence lengths at which the cost is shown. */
const lengths = [128, 256, 512, 1024, 2048, 4096, 8192, 16384];

/** The heads of an attention site, and the number of features that replace its softmax; 0 if it stays softmax. */
export interface SiteCost {
  readonly heads: number;
  readonly headDim: number;
  readonly features: number;
  /** Keys that a query sees exactly, if attention is computed within a window or has exact keys. */
  readonly keys?: number;
  /** Queries that are averaged to choose blocks of keys, if any are. */
  readonly group?: number;
}

/**
 * Counts the multiply-adds of the attention of all sites by sequence length L, without projections and feed-forward
 * layers. Softmax: QK^T and PV, 2 L^2 d per head. Linear: Omega.Q and Omega.K, phi(K)^T [V 1] and phi(Q) times that,
 * 4 L M d per head (Choromanski et al. 2020, section 2.2). Within a window of W keys, or with W exact keys:
 * 2 L W d per head. Choosing blocks of keys by means of g queries: L^2 d / g per head.
 *
 * @returns for each length: [length, multiply-adds with softmax everywhere, multiply-adds as converted].
 */
export function attentionCost(sites: readonly SiteCost[]): [length: number, softmax: number, converted: number][] {
  return lengths.map((length) => costAt(sites, length));
}

function costAt(sites: readonly SiteCost[], length: number): [length: number, softmax: number, converted: number] {
  let softmax = 0;
  let converted = 0;
  for (const { heads, headDim, features, keys = features === 0 ? length : 0, group } of sites) {
    softmax += 2 * heads * length * length * headDim;
    const seen = Math.min(keys, length);
    // If all keys are exact, none are left to choose among or to estimate.
    const rest = seen === length ? 0 : 4 * features + (group === undefined ? 0 : length / group);
    converted += heads * length * headDim * (2 * seen + rest);
  }
  return [length, softmax, converted];
}

/** No model takes as many tokens. */
const longestSearched = 1 << 24;

/**
 * The length in tokens from which the converted attention takes fewer multiply-adds than softmax; see
 * {@link attentionCost}. Times depend on the machine and on the runtime, and may cross elsewhere.
 *
 * @returns undefined if it takes as many at every length, as exact attention does.
 */
export function breakEvenLength(sites: readonly SiteCost[]): number | undefined {
  const isLess = (length: number): boolean => {
    const [, softmax, converted] = costAt(sites, length);
    return converted < softmax;
  };
  // Hybrid attention costs as much as softmax while all keys are near, then more, then less: the last crossing counts.
  let over = longestSearched;
  if (!isLess(over)) return undefined;
  while (over > 1 && isLess(over / 2)) over /= 2;
  let under = over / 2;
  while (over - under > 1) {
    const middle = Math.floor((over + under) / 2);
    if (isLess(middle)) over = middle;
    else under = middle;
  }
  return over;
}

/** The sites of a conversion, for {@link attentionCost}. */
export function siteCosts({ sites }: { readonly sites: readonly FavorSite[] }): SiteCost[] {
  return sites.map(({ heads, headDim, featureMap, state, mask: { band }, ...site }) => ({
    heads,
    headDim,
    features: featureMap?.width ?? 0,
    ...(state === "band" && band !== undefined && { keys: band.before + 1 + band.after }),
    ...(site.exactKeys !== undefined && exactKeysCost(site.exactKeys, site)),
  }));
}

/** The near field is three blocks, in causal attention two; cross-attention has none. */
function exactKeysCost(
  { window, chosenBlocks, group }: NonNullable<FavorSite["exactKeys"]>,
  { kind, causal }: Pick<FavorSite, "kind" | "causal">,
): Pick<SiteCost, "keys" | "group"> {
  const near = kind === "cross" ? 0 : causal ? 2 : 3;
  return { keys: (near + chosenBlocks) * window, ...(chosenBlocks > 0 && { group }) };
}
