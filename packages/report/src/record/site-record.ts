import type { FeatureMapDescription } from "@favor/core";
import type { ConvertedSite } from "@favor/rewriter";

import type { FavorSite, SiteError, WrittenSite } from "./favor-file.ts";

/** A converted site as `favor.json` records it. */
export function siteRecord(site: ConvertedSite, error: SiteError | undefined): WrittenSite {
  const { layer, name, kind, heads, keyValueHeads, headDim, scale, mask, causal, state, because, reasons, exactKeys } =
    site;
  return {
    site: site.site,
    layer,
    name,
    kind,
    heads,
    keyValueHeads,
    headDim,
    scale,
    mask: { ...mask },
    causal,
    state,
    ...(because !== undefined && { because }),
    reasons: reasons.map(({ code, message }) => ({ code, message })),
    ...featureMapRecord(site),
    ...(exactKeys !== undefined && { exactKeys: { ...exactKeys } }),
    ...(error !== undefined && { error }),
  };
}

/** The feature maps of a site's heads differ only in the head number and in calibrated values, which are in the model. */
function featureMapRecord({ featureMaps = [], folded }: ConvertedSite): Pick<FavorSite, "featureMap"> {
  const [first] = featureMaps;
  if (first === undefined) return {};
  return {
    featureMap: {
      kind: first.kind,
      width: widthOf(first),
      ...projectionRecord(featureMaps),
      ...(folded && { folded }),
    },
  };
}

function projectionRecord(
  featureMaps: readonly FeatureMapDescription[],
): Pick<NonNullable<FavorSite["featureMap"]>, "projection"> {
  const projections = featureMaps.flatMap((map) => ("projection" in map ? [map.projection] : []));
  const [first] = projections;
  if (first === undefined) return {};
  const { kind, count, seed, layer = 0 } = first;
  const epochs = projections.map(({ epoch = 0 }) => epoch);
  return { projection: { kind, count, seed, layer, ...(epochs.some((epoch) => epoch !== 0) && { epochs }) } };
}

/** Features per head. */
function widthOf(map: FeatureMapDescription): number {
  if (!("projection" in map)) return "count" in map ? map.count : map.dim;
  const isDouble = map.kind === "hyperbolic" || (map.kind === "trigonometric" && map.variant === "pair");
  return isDouble ? 2 * map.projection.count : map.projection.count;
}
