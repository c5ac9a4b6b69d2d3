import Long from "long";
import {
  ArgumentError,
  calibrate,
  exponentialForm,
  trigonometricForm,
  type FeatureMapDescription,
  type HeadMoments,
} from "@favor/core";
import type { AttentionContext } from "./attention/context.ts";
import { findAttention, type FoundAttention } from "./attention/find.ts";
import type { AttentionSite } from "./attention/site.ts";
import { conversionOf, recordConversion } from "./conversion-record.ts";
import { emitExact } from "./favor/exact.ts";
import { detachShapes } from "./favor/detach-shapes.ts";
import { emitCausal } from "./favor/causal.ts";
import { exponentialFeatures } from "./favor/exponential.ts";
import { foldCalibration } from "./favor/fold.ts";
import { emitLinearOperator } from "./favor/linear-operator.ts";
import { emitLinear, type LinearFeatures } from "./favor/linear.ts";
import { NodeBuilder } from "./favor/node-builder.ts";
import { readSite, writeSite, type KeepCache } from "./favor/site-inputs.ts";
import { trigonometricFeatures } from "./favor/trigonometric.ts";
import { GraphError } from "./graph/errors.ts";
import type { Graph } from "./graph/graph.ts";
import type { ModelProto } from "./model/proto.ts";
import { createMessage } from "./model/schema.ts";
import { normaliseModel, restoreFused } from "./normalise/normalise.ts";
import { growPositions } from "./positions/grow.ts";
import { reportSite, type SiteReport } from "./report.ts";

export interface ConvertOptions {
  /** Default "positive". "exact" writes softmax attention again, to check that the graph was understood. */
  readonly features?: "positive" | "trigonometric" | "exact";
  /** Random features per head, M. Default 256. */
  readonly count?: number;
  /** Default "orthogonal". */
  readonly projection?: "orthogonal" | "iid";
  /** Default 0. */
  readonly seed?: number;
  /** Layers that stay softmax, 0-based. Default none. */
  readonly keep?: readonly number[];
  /** Statistics per site and head, from {@link tapMoments} runs; sites without any get uncalibrated features. */
  readonly moments?: readonly (readonly HeadMoments[] | undefined)[];
  /**
   * Feature maps per site and head, made elsewhere (`calibrate`, `fitLandmarks`): they go before `features` and
   * `moments`. Sites without any are converted as the other options say.
   */
  readonly featureMaps?: readonly (readonly FeatureMapDescription[] | undefined)[];
  /** Longest input, in tokens: position tables are grown to it. Default: as exported. */
  readonly maxLength?: number;
  /**
   * What causal attention is written in: "standard" operators (a chunked prefix sum), "onnxruntime"'s own
   * LinearAttention, or the standard one of opset "onnx27", which no runtime had in 2026. Default "standard".
   */
  readonly target?: "standard" | "onnxruntime" | "onnx27";
  /** Also convert cross-attention. Default false: it stays, with a note. */
  readonly cross?: boolean;
  /** How a position table grows: repeated (default), or stretched by interpolation. */
  readonly growth?: "tile" | "interpolate";
}

export interface ConvertedSite extends SiteReport {
  readonly state: "converted" | "kept" | "refused";
  /** One description per head; absent for exact attention and sites that stayed. */
  readonly featureMaps?: readonly FeatureMapDescription[];
  /** Whether query and key calibration went into the projections' weights, at no cost at run time. */
  readonly folded?: { readonly query: boolean; readonly key: boolean };
}

export interface Conversion {
  readonly model: ModelProto;
  readonly sites: readonly ConvertedSite[];
  /** What was done beside the attention: position tables that grew. */
  readonly notes: readonly string[];
}

/** Every attention of a model with its verdict; changes nothing. */
export function inspectAttention(model: ModelProto): { sites: SiteReport[]; notes: readonly string[] } {
  const { graph, notes } = normaliseModel(model);
  const found = findAttention(graph);
  return { sites: found.sites.map(reportSite), notes: [...notes, ...found.notes] };
}

/**
 * Replaces softmax attention by linear attention wherever that is proved right. The model is changed in place and
 * returned: inputs, outputs and their axes stay, dead nodes and weights go.
 *
 * @throws GraphError "already-converted" or "nothing-convertible", with every site's reasons in `details.sites`
 * @throws ArgumentError for options that cannot be right
 */
export function convertAttention(model: ModelProto, options: ConvertOptions = {}): Conversion {
  const settings = checkOptions(options);
  const before = conversionOf(model);
  if (before !== undefined) {
    throw new GraphError(
      "already-converted",
      `This model was converted before (${before.features} features). Convert the original again with other options.`,
      { conversion: before },
    );
  }
  const normalised = normaliseModel(model);
  const { graph } = normalised;
  const found = findAttention(graph);
  requireConvertible(found, normalised.notes);
  const writers = new SiteWriters();
  const sites = found.sites.map((entry): ConvertedSite => {
    const report = reportSite(entry);
    if ("refused" in entry) return { ...report, state: "refused" };
    if (settings.keep.includes(entry.site.layer) || (entry.site.kind === "cross" && !settings.cross)) {
      return { ...report, state: "kept" };
    }
    return { ...report, state: "converted", ...rewriteSite(writers.of(entry.context), entry.site, settings) };
  });
  writers.commit();
  restoreFused(normalised.decomposed);
  writers.removeDead();
  graph.reindex();
  graph.removeDead();
  const { functions, opsetImport } = normalised.model;
  Object.assign(model, { graph: graph.proto, functions, opsetImport });
  const notes = settings.maxLength === undefined ? [] : growPositions(graph, settings.maxLength, settings.growth);
  if (settings.target === "onnxruntime") importMicrosoft(model);
  recordConversion(model, settings, sites);
  return { model, sites, notes };
}

/** onnxruntime's own operators need their domain among the imports. */
function importMicrosoft(model: ModelProto): void {
  const domain = "com.microsoft";
  if (model.opsetImport.some((entry) => entry.domain === domain)) return;
  model.opsetImport.push(createMessage("OperatorSetIdProto", { domain, version: Long.ONE }));
}

type Given = "moments" | "featureMaps" | "maxLength";
type Settings = Required<Omit<ConvertOptions, Given>> & Pick<ConvertOptions, Given>;

function checkOptions(options: ConvertOptions): Settings {
  const { count = 256, seed = 0, maxLength, keep = [] } = options;
  if (!Number.isInteger(count) || count < 1 || count > 65_536) {
    throw new ArgumentError("options.count", "an integer from 1 to 65536", count);
  }
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new ArgumentError("options.seed", "an integer of at least 0", seed);
  if (maxLength !== undefined && (!Number.isInteger(maxLength) || maxLength < 1)) {
    throw new ArgumentError("options.maxLength", "a positive integer", maxLength);
  }
  const bad = keep.find((layer) => !Number.isInteger(layer) || layer < 0);
  if (bad !== undefined) throw new ArgumentError("options.keep", "layer numbers from 0", bad);
  return {
    features: "positive",
    projection: "orthogonal",
    growth: "tile",
    target: "standard",
    cross: false,
    ...options,
    count,
    seed,
    keep,
  };
}

/** What is built for the sites of one graph, and the masks that they share. */
interface SiteWriter {
  readonly context: AttentionContext;
  readonly build: NodeBuilder;
  readonly keeps: KeepCache;
}

/** One writer for each graph that has sites: the main one, or a body of If, Loop or Scan. */
class SiteWriters {
  readonly #writers = new Map<Graph, SiteWriter>();

  of(context: AttentionContext): SiteWriter {
    const { graph } = context;
    const known = this.#writers.get(graph);
    if (known !== undefined) return known;
    const writer = { context, build: new NodeBuilder(graph, "favor"), keeps: new Map() };
    this.#writers.set(graph, writer);
    return writer;
  }

  commit(): void {
    for (const { context, build } of this.#writers.values()) {
      build.commit();
      context.graph.reindex();
      detachShapes(context, build);
      build.commit();
      context.graph.reindex();
    }
  }

  removeDead(): void {
    for (const { context } of this.#writers.values()) context.graph.removeDead();
  }
}

function requireConvertible({ sites, notes: found }: FoundAttention, normalising: readonly string[]): void {
  const notes = [...normalising, ...found];
  if (sites.some((entry) => "site" in entry)) return;
  const reports = sites.map(reportSite);
  const reasons = [...new Set(reports.flatMap((site) => site.reasons.map((reason) => reason.message)))];
  const what =
    reports.length === 0
      ? "No softmax attention was found in this model."
      : `None of the ${reports.length} attention layers can be replaced: ${reasons.join(" ")}`;
  throw new GraphError("nothing-convertible", [what, ...notes].join(" "), { sites: reports, notes });
}

/** Emits one site and takes its old output node away. */
function rewriteSite(
  { context, build, keeps }: SiteWriter,
  site: AttentionSite,
  settings: Settings,
): Pick<ConvertedSite, "featureMaps" | "folded"> {
  const descriptions = describeFeatures(site, settings);
  const forms = descriptions?.every((d) => d.kind === "trigonometric")
    ? undefined
    : descriptions?.map((description) => exponentialForm(description));
  const folded =
    forms === undefined || descriptions!.every((description) => description.kind === "positive")
      ? { query: false, key: false }
      : foldCalibration(context.graph, context, site, forms);
  const inputs = readSite(build, site, keeps);
  let output: string;
  if (descriptions === undefined) output = emitExact(build, site, inputs);
  else {
    const features =
      forms === undefined
        ? trigonometricFeatures(build, site, inputs, descriptions.map(asTrigonometric))
        : exponentialFeatures(build, site, inputs, forms, folded);
    output = linearAttention(build, site, features, settings.target);
  }
  const { proto } = context.graph;
  proto.node = proto.node.filter((node) => node !== site.outputNode);
  writeSite(build, site, output);
  return descriptions === undefined ? {} : { featureMaps: descriptions, ...(forms && { folded }) };
}

function linearAttention(
  build: NodeBuilder,
  site: AttentionSite,
  features: LinearFeatures,
  target: Settings["target"],
): string {
  if (!site.causal) return emitLinear(build, features, site.valueDim);
  if (target === "standard") return emitCausal(build, features, site.valueDim).output;
  return emitLinearOperator(build, features, site.heads, site.valueDim, target).output;
}

const asTrigonometric = (description: FeatureMapDescription) => {
  if (description.kind !== "trigonometric") throw new ArgumentError("features", "trigonometric maps", description.kind);
  return trigonometricForm(description);
};

/** The feature map of every head; undefined for exact attention. */
function describeFeatures(site: AttentionSite, settings: Settings): FeatureMapDescription[] | undefined {
  const { features, count, projection: kind, seed, moments, featureMaps } = settings;
  if (features === "exact") return undefined;
  const calibration = features === "positive" ? moments?.[site.index] : undefined;
  const given = featureMaps?.[site.index];
  for (const [what, heads] of [
    ["statistics", calibration?.length],
    ["feature maps", given?.length],
  ] as const) {
    if (heads !== undefined && heads !== site.heads) {
      throw new GraphError(
        "calibration-mismatch",
        `Site ${site.index} has ${site.heads} heads, but the ${what} are of ${heads}. ` +
          "Calibrate on the model that is converted.",
        { site: site.index, heads: site.heads, found: heads },
      );
    }
  }
  if (given !== undefined) return [...given];
  return Array.from({ length: site.heads }, (_, head): FeatureMapDescription => {
    const projection = { kind, count, dim: site.headDim, seed, layer: site.index, head };
    const statistics = calibration?.[head];
    if (statistics !== undefined) return calibrate(statistics, { ...projection, projection: kind });
    if (features === "positive") return { version: 1, kind: "positive", projection };
    return { version: 1, kind: "trigonometric", variant: "phase", projection };
  });
}
