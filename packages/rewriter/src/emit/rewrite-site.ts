import {
  ArgumentError,
  exponentialForm,
  trigonometricForm,
  type ExponentialForm,
  type FeatureMapDescription,
} from "@favor/core";
import type { AttentionContext } from "../attention/context.ts";
import { planFeedForwards } from "../attention/rows/feed-forward.ts";
import { RowProbes } from "../attention/rows/row-probes.ts";
import type { Band } from "../attention/band.ts";
import type { AttentionSite, FoundSite } from "../attention/site.ts";
import { planOf } from "../attention/verdict/by-block.ts";
import type { Settings } from "../options.ts";
import type { ConvertedSite } from "../report.ts";
import { feedForwardBlock } from "./block-scan.ts";
import { emitBand, type WindowCache } from "./band.ts";
import { emitCausal } from "./causal.ts";
import { describeFeatures } from "./describe-features.ts";
import { directFeatures, isDirect } from "./direct.ts";
import { emitByBlock } from "./exact-by-block.ts";
import { emitExact } from "./exact.ts";
import { exponentialFeatures, type FoldedSides } from "./exponential.ts";
import { foldCalibration } from "./fold.ts";
import { emitHybrid } from "./hybrid/hybrid.ts";
import { scaledFeatures, type ScaledFeatures } from "./hybrid/scaled-features.ts";
import { siteExactKeys } from "./hybrid/site-exact-keys.ts";
import { emitFusedExact, isFusable } from "./fused-exact.ts";
import { emitLinearOperator } from "./linear-operator.ts";
import { emitLinear, type LinearFeatures } from "./linear.ts";
import type { NodeProto } from "@favor/onnx";
import { GraphError, type NodeBuilder } from "@favor/onnx/graph";
import { readSite, writeSite, type KeepCache, type SiteInputs } from "./site-inputs.ts";
import { declarePast, declarePresent } from "../stateful/state.ts";
import { isPlain } from "./side-maps.ts";
import { emitTwoScans } from "./two-scans.ts";
import { trigonometricFeatures } from "./trigonometric.ts";

/** The nodes built for the sites of one graph, and the masks that they share. */
export interface SiteWriter {
  readonly context: AttentionContext;
  readonly build: NodeBuilder;
  readonly keeps: KeepCache;
  readonly windows: WindowCache;
  /** Nodes that are replaced. They stay until all sites are written: their shapes are probed once more. */
  readonly removed: Set<NodeProto>;
  /** Made when first needed: it probes the graph. */
  rows?: RowProbes;
}

/**
 * Emits one attention exactly and replaces its old output node: by blocks of its queries, from the graph's own nodes where
 * their rows can be followed, otherwise from what was proved of the site; or as one operator of the target's.
 *
 * @returns whether one of the two is possible
 */
export function rewriteByBlock(writer: SiteWriter, found: FoundSite, settings: Settings): boolean {
  const { context, build } = writer;
  const isOneOperator = "site" in found && isFused(found.site, settings);
  if (settings.rows === "proof" || "failure" in found.blocks || isOneOperator) {
    if ("site" in found) rewriteSite(writer, found.site, settings);
    return "site" in found;
  }
  const probes = (writer.rows ??= new RowProbes(context));
  const plan = planOf(probes, found.blocks.sum);
  writer.removed.add(found.blocks.sum.product.node);
  emitByBlock(build, probes, plan, settings.block);
  return true;
}

/**
 * Emits the feed-forward layers of a graph by blocks of positions: with exact attention by block, what they hold between
 * their two products is most of a model's memory.
 *
 * @returns how many there are
 */
export function rewriteFeedForwards(writer: SiteWriter, { block }: Settings): number {
  const probes = (writer.rows ??= new RowProbes(writer.context));
  const plans = planFeedForwards(probes);
  for (const plan of plans) {
    writer.removed.add(plan.output.node);
    emitByBlock(writer.build, probes, plan, block === "auto" ? feedForwardBlock : block);
  }
  return plans.length;
}

/** Most queries per block of a window where nothing else is said. */
export const bandBlock = 128;

/** Writes one site's attention within its band and replaces its old output node. */
export function rewriteBand(writer: SiteWriter, site: AttentionSite, band: Band, { block }: Settings): void {
  const { build, keeps, windows, removed } = writer;
  const output = emitBand(
    build,
    site,
    readSite(build, site, keeps),
    band,
    block === "auto" ? bandBlock : block,
    windows,
  );
  removed.add(site.outputNode);
  writeSite(build, site, output);
}

/**
 * Emits one site and replaces its old output node.
 *
 * @throws GraphError "features-cannot-fade" for ALiBi and features without an exponential form
 */
export function rewriteSite(
  { context, build, keeps, removed }: SiteWriter,
  site: AttentionSite,
  settings: Settings,
): Pick<ConvertedSite, "featureMaps" | "folded" | "exactKeys"> {
  const descriptions = describeFeatures(site, settings);
  const exactKeys = descriptions && siteExactKeys(site, settings, build.graph.opset);
  if (exactKeys !== undefined) {
    const inputs = readSite(build, site, keeps);
    const features = farFeatures(build, site, inputs, descriptions!);
    removed.add(site.outputNode);
    writeSite(build, site, emitHybrid(build, site, inputs, features, exactKeys, settings.block));
    return { featureMaps: descriptions!, exactKeys };
  }
  const maps = descriptions && mapsOf(descriptions);
  if (site.mask.alibi !== undefined && maps?.kind === "other") throw cannotFade(site, descriptions![0]!.kind);
  // Weights are folded before anything reads the operands that they make.
  const folded =
    maps?.kind === "exponential" && maps.forms.some(hasAffineMap)
      ? foldCalibration(context.graph, context, site, maps.forms)
      : unfolded;
  const inputs = readSite(build, site, keeps);
  const output =
    maps === undefined
      ? exactAttention(build, site, inputs, settings)
      : linearAttention(build, site, maps.emit(build, site, inputs, folded), settings);
  removed.add(site.outputNode);
  writeSite(build, site, output);
  if (descriptions === undefined) return {};
  return { featureMaps: descriptions, ...(maps?.kind === "exponential" && { folded }) };
}

/** Features of the keys that are not exact; undefined if they are left out. */
function farFeatures(
  build: NodeBuilder,
  site: AttentionSite,
  inputs: SiteInputs,
  descriptions: readonly FeatureMapDescription[],
): ScaledFeatures | undefined {
  if (descriptions.length === 0) return undefined;
  const maps = mapsOf(descriptions);
  if (maps.kind === "exponential") return scaledFeatures(build, site, inputs, maps.forms);
  throw new ArgumentError(
    `features of site ${site.index}`,
    "features with an exponential form alongside exact keys",
    descriptions[0]!.kind,
  );
}

function cannotFade({ index, layer }: AttentionSite, kind: FeatureMapDescription["kind"]): GraphError {
  return new GraphError(
    "features-cannot-fade",
    `Layer ${layer} has ALiBi, whose weights exp(-m |i - j|) need positive features that estimate exp(q.k), and "${kind}" ` +
      "features are none. Choose positive or landmark features, or keep the layer.",
    { site: index, layer, features: kind },
  );
}

const unfolded: FoldedSides = { query: false, key: false };

type Emit = (build: NodeBuilder, site: AttentionSite, inputs: SiteInputs, folded: FoldedSides) => LinearFeatures;

/** The heads' feature maps with the emitter of their family. */
type SiteMaps =
  | { readonly kind: "exponential"; readonly forms: readonly ExponentialForm[]; readonly emit: Emit }
  | { readonly kind: "other"; readonly emit: Emit };

function mapsOf(descriptions: readonly FeatureMapDescription[]): SiteMaps {
  const trigonometric = descriptions.filter((description) => description.kind === "trigonometric");
  if (trigonometric.length > 0) {
    const forms = trigonometric.map(trigonometricForm);
    return { kind: "other", emit: (build, site, inputs) => trigonometricFeatures(build, site, inputs, forms) };
  }
  const direct = descriptions.filter(isDirect);
  if (direct.length > 0) {
    return { kind: "other", emit: (build, site, inputs) => directFeatures(build, site, inputs, direct) };
  }
  const forms = descriptions.map(exponentialForm);
  return {
    kind: "exponential",
    forms,
    emit: (build, site, inputs, folded) => exponentialFeatures(build, site, inputs, forms, folded),
  };
}

/** Whether queries or keys are centred or multiplied by a matrix before they are projected. */
function hasAffineMap({ queryMean, keyMean, queryMatrix, keyMatrix }: ExponentialForm): boolean {
  return !isPlain(queryMean, queryMatrix) || !isPlain(keyMean, keyMatrix);
}

function exactAttention(build: NodeBuilder, site: AttentionSite, inputs: SiteInputs, settings: Settings): string {
  return isFused(site, settings) ? emitFusedExact(build, site, inputs) : emitExact(build, site, inputs, settings.block);
}

/** Whether an exact site becomes one operator of the target's. */
const isFused = (site: AttentionSite, { target }: Settings): boolean => target === "onnxruntime" && isFusable(site);

function linearAttention(
  build: NodeBuilder,
  site: AttentionSite,
  features: LinearFeatures,
  { target, stateful }: Settings,
): string {
  const { heads, valueDim } = site;
  const { alibi } = features;
  if (!site.causal) {
    return alibi === undefined ? emitLinear(build, features, valueDim) : emitTwoScans(build, features, alibi, valueDim);
  }
  const past = stateful ? declarePast(build.graph, site, features.count) : undefined;
  const { output, state } =
    target === "standard" || alibi !== undefined
      ? emitCausal(build, features, valueDim, past)
      : emitLinearOperator(build, features, heads, valueDim, target, past);
  if (stateful) declarePresent(build, site, features.count, state);
  return output;
}
