import {
  optimalExponent,
  optimalOprf,
  type ElementwiseFunction,
  type FeatureMapDescription,
  type ProjectionDescription,
} from "@favor/core";
import { calibrate, type HeadMoments } from "@favor/core/calibration";
import type { AttentionSite } from "../attention/site.ts";
import { GraphError } from "@favor/onnx/graph";
import type { Settings } from "../options.ts";

/**
 * The feature map of every head of a site, as requested by the options; undefined for exact attention, none for a site
 * whose exact keys are all.
 *
 * @throws GraphError "calibration-mismatch" for statistics or feature maps that belong to another site
 */
export function describeFeatures(site: AttentionSite, settings: Settings): FeatureMapDescription[] | undefined {
  if (settings.features === "exact") return undefined;
  const given = settings.featureMaps?.[site.index];
  if (given?.length === 0) return [];
  if (given !== undefined) {
    checkCalibration(site, "feature maps", given, given.map(dimensionOf));
    checkAlike(site, given);
    return [...given];
  }
  const moments = settings.moments?.[site.index];
  if (moments !== undefined) {
    checkCalibration(
      site,
      "statistics",
      moments,
      moments.map(({ dim }) => dim),
    );
  }
  const { projection: kind, count, seed } = settings;
  return Array.from({ length: site.heads }, (_, head) =>
    describeHead(settings, { kind, count, dim: site.headDim, seed, layer: site.index, head }, moments?.[head]),
  );
}

function describeHead(
  { features, keyFactor }: Settings,
  projection: ProjectionDescription,
  moments: HeadMoments | undefined,
): FeatureMapDescription {
  const { dim, kind, count, seed, layer, head } = projection;
  const version = 1;
  switch (features) {
    case "exact":
    case "positive":
      if (moments === undefined) return { version, kind: "positive", projection };
      return calibrate(moments, { count, seed, layer: layer!, head: head!, projection: kind });
    case "trigonometric":
      return { version, kind: "trigonometric", variant: "phase", projection };
    case "trigonometric-pair":
      return { version, kind: "trigonometric", variant: "pair", projection };
    case "hyperbolic":
      return { version, kind: "hyperbolic", projection };
    case "oprf":
      return { version, kind: "oprf", projection, a: optimalOprf(sum(meanSquares(moments, dim)), dim) };
    case "dense-exponential":
      return { version, kind: "dense-exponential", projection, a: meanSquares(moments, dim).map(optimalExponent) };
    case "elu":
      return { version, kind: "elu", dim };
    case "squared-relu":
      return { version, kind: "squared-relu", dim };
    default:
      return {
        version,
        kind: "generalized",
        projection,
        function: features satisfies ElementwiseFunction,
        ...(keyFactor && { keyFactor }),
      };
  }
}

/**
 * E (q + k)_l^2 per dimension l, which the exponents of FAVOR++ and FAVOR# depend on. Without statistics, queries and
 * keys are assumed to have unit variance: 2 / sqrt(d), because both are multiplied by d^(-1/4).
 */
function meanSquares(moments: HeadMoments | undefined, dim: number): number[] {
  return Array.from({ length: dim }, (_, l) => {
    if (moments === undefined) return 2 / Math.sqrt(dim);
    const { queryMean, keyMean, queryCovariance, keyCovariance } = moments;
    const diagonal = l * dim + l;
    return (queryMean[l]! + keyMean[l]!) ** 2 + queryCovariance[diagonal]! + keyCovariance[diagonal]!;
  });
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** d of any description. */
function dimensionOf(description: FeatureMapDescription): number {
  return "projection" in description ? description.projection.dim : description.dim;
}

/** M of the descriptions that state it. */
function countOf(description: FeatureMapDescription): number {
  if ("projection" in description) return description.projection.count;
  return "count" in description ? description.count : description.dim;
}

function checkCalibration(site: AttentionSite, what: string, given: readonly unknown[], dims: readonly number[]): void {
  const found = { heads: given.length, headDim: dims.find((dim) => dim !== site.headDim) ?? site.headDim };
  if (found.heads === site.heads && found.headDim === site.headDim) return;
  throw new GraphError(
    "calibration-mismatch",
    `Site ${site.index} has ${site.heads} heads of ${site.headDim}, but the ${what} are for ${found.heads} heads of ` +
      `${found.headDim}. Calibrate the same model that you convert.`,
    { site: site.index, heads: site.heads, headDim: site.headDim, found },
  );
}

/** The heads of a site are computed together, so all must have one kind and one width. */
function checkAlike(site: AttentionSite, given: readonly FeatureMapDescription[]): void {
  const signatures = given.map(signatureOf);
  const other = signatures.findIndex((signature) => signature !== signatures[0]);
  if (other < 0) return;
  throw new GraphError(
    "calibration-mismatch",
    `The feature maps of site ${site.index} differ: head 0 has ${signatures[0]}, head ${other} has ` +
      `${signatures[other]}. Give all heads of a site the same kind and number of features.`,
    { site: site.index, head: other },
  );
}

/** Everything in which the heads of a site must agree. */
function signatureOf(description: FeatureMapDescription): string {
  const parts: (string | number | boolean)[] = [description.kind, countOf(description)];
  if (description.kind === "generalized") {
    parts.push(description.function, description.epsilon ?? 1e-3, description.keyFactor ?? "");
  }
  if (description.kind === "trigonometric") parts.push(description.variant);
  if (description.kind === "linear-exponential") parts.push(description.subtractNorms);
  return parts.join(" ");
}
