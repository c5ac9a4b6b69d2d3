import Long from "long";
import type { AttentionContext } from "./attention/context.ts";
import type { FoundAttention } from "./attention/find.ts";
import { conversionOf, recordConversion } from "./conversion-record.ts";
import { requireFiniteWeights } from "./attention/verdict/finite-weights.ts";
import { feedForwardBlock } from "./emit/block-scan.ts";
import { detachShapes } from "./emit/detach-shapes.ts";
import { refusePositionMixing, cannotBeStateful } from "./stateful/position-mixing.ts";
import { offsetPositions } from "./stateful/position-offset.ts";
import { describeNode, NodeBuilder } from "@favor/onnx/graph";
import { raiseOpset } from "./emit/raise-opset.ts";
import { rewriteBand, rewriteByBlock, rewriteFeedForwards, rewriteSite, type SiteWriter } from "./emit/rewrite-site.ts";
import type { Fork } from "./fork.ts";
import { forwardMemory } from "./forward-memory.ts";
import { GraphError } from "@favor/onnx/graph";
import type { Graph } from "@favor/onnx/graph";
import type { ModelProto } from "@favor/onnx";
import { createMessage } from "@favor/onnx";
import { restoreFused, type NormalisedModel } from "./normalise/normalise.ts";
import type { Settings } from "./options.ts";
import { growPositions } from "./positions/grow.ts";
import { reasonLines } from "./reasons.ts";
import { reportSite, type ConvertedSite } from "./report.ts";
import { shownBytes, ValueSizes } from "./value-sizes.ts";

export interface Conversion {
  readonly model: ModelProto;
  readonly sites: readonly ConvertedSite[];
  /** Changes besides the attention (position tables that grew), and remarks on options. */
  readonly notes: readonly string[];
}

/** @throws GraphError "already-converted" */
export function requireUnconverted(model: ModelProto): void {
  const before = conversionOf(model);
  if (before === undefined) return;
  throw new GraphError(
    "already-converted",
    `This model was converted before (${before.features} features). Convert the original again with other options.`,
    { conversion: before },
  );
}

/**
 * Replaces the attention that was found. The fork is used up.
 *
 * @param checked weights that are known to be finite; what is read and found finite is added
 */
export function convertFound({ normalised, found }: Fork, settings: Settings, checked: Set<string>): Conversion {
  const { model, graph } = normalised;
  requireConvertible(found, settings, normalised);
  requireOpset(graph);
  const writers = new SiteWriters();
  const sites = found.sites.map((entry): ConvertedSite => {
    const report = reportSite(entry);
    const isCross = report.kind === "cross" && !settings.cross && settings.features !== "exact";
    if ("site" in entry && report.mask.band && !isCross && !settings.keep.includes(report.layer)) {
      requireFiniteWeights(entry.context, entry.site, checked);
      rewriteBand(writers.of(entry.context), entry.site, report.mask.band, settings);
      return { ...report, state: "band" };
    }
    if (settings.features === "exact" && !settings.keep.includes(report.layer)) {
      if ("site" in entry) requireFiniteWeights(entry.context, entry.site, checked);
      if (rewriteByBlock(writers.of(entry.context), entry, settings)) return { ...report, state: "exact by block" };
    }
    if ("refused" in entry) return { ...report, state: "unchanged", because: "refused" };
    if (settings.keep.includes(entry.site.layer) || (entry.site.kind === "cross" && !settings.cross)) {
      return { ...report, state: "unchanged", because: "kept" };
    }
    requireFiniteWeights(entry.context, entry.site, checked);
    return { ...report, state: "linear", ...rewriteSite(writers.of(entry.context), entry.site, settings) };
  });
  const feedForwards =
    settings.features === "exact" && settings.rows === "graph" ? writers.rewriteFeedForwards(settings) : 0;
  writers.commit();
  restoreFused(normalised.decomposed);
  writers.removeDead();
  graph.reindex();
  graph.removeDead();
  const grown = settings.maxLength === undefined ? [] : growPositions(graph, settings.maxLength, settings.growth);
  if (settings.stateful) continueFrom(found, sites, graph);
  const hasCausal = sites.some(({ causal, featureMaps }) => causal && featureMaps !== undefined);
  const isFused = writers.write(microsoft);
  if (isFused) importMicrosoft(model);
  if (settings.target === "onnx27" && hasCausal) {
    const { info } = found.sites[0]!.context.first;
    raiseOpset(model, graph, (value) => info.get(value)?.dims.length);
  }
  recordConversion(model, settings, sites);
  const notes = [
    ...grown,
    ...inBlocks(feedForwards, settings),
    ...remarks(sites, settings, hasCausal || isFused),
    ...quadraticLeft(graph, found),
  ];
  return { model, sites, notes };
}

/** The length, in tokens, for which sizes of what is left are given. */
const shownLength = 2048;

/** What still grows with the square of the length, with its size. */
function quadraticLeft(graph: Graph, { sites }: FoundAttention): string[] {
  const sizes = ValueSizes.of(graph, sites[0]?.context.first.sizes);
  const left = (sizes?.quadratic() ?? []).map((entry) => ({ ...entry, bytes: sizes!.bytes(entry.value, shownLength) }));
  if (left.length === 0) return [];
  const shown = left.toSorted((a, b) => b.bytes - a.bytes).slice(0, 3);
  const list = shown.map(({ node, bytes }) => `${describeNode(node)} (${shownBytes(bytes)})`).join(", ");
  const many = left.length > 1;
  return [
    `${left.length} tensor${many ? "s" : ""} of the model still grow${many ? "" : "s"} with the square of the length` +
      `${left.length > shown.length ? "; the largest" : ""}, with the size at ${shownLength} tokens and a batch of one: ${list}.`,
  ];
}

/** Says that feed-forward layers changed as well. */
function inBlocks(feedForwards: number, { block }: Settings): string[] {
  if (feedForwards === 0) return [];
  const layers = feedForwards === 1 ? "1 feed-forward layer is" : `${feedForwards} feed-forward layers are`;
  return [
    `${layers} computed by blocks of at most ${block === "auto" ? feedForwardBlock : block} positions: the same numbers in less memory.`,
  ];
}

/** Attention for which a target has operators of its own. */
const targetUse = {
  onnxruntime: "causal linear attention, and for exact attention of float32 that is not causal",
  onnx27: "causal linear attention",
} as const;

/** Sentences on what the options leave unchanged, and on what they require of callers of the model. */
function remarks(sites: readonly ConvertedSite[], settings: Settings, usesTarget: boolean): string[] {
  const { cross, keep, target, stateful } = settings;
  const kept = sites.filter(
    ({ kind, because, layer }) => kind === "cross" && because === "kept" && !keep.includes(layer),
  );
  const many = kept.length > 1;
  return [
    ...(kept.length > 0 && !cross
      ? [
          `${kept.length} cross-attention${many ? "s stay" : " stays"} softmax: "cross" converts ${many ? "them" : "it"} too.`,
        ]
      : []),
    ...(target !== "standard" && !usesTarget
      ? [
          `The target "${target}" is for ${targetUse[target]}, and none was converted. The model uses standard operators only.`,
        ]
      : []),
    ...(stateful
      ? [
          "The model takes its state from the inputs favor_past.*. For the first piece they are 0 (-1e30 for log scales), " +
            "for every other piece the favor_present.* of the call before. favor_past_length, if the model has it, is the " +
            "number of tokens fed before.",
        ]
      : []),
  ];
}

/** Makes positions continue from one piece to the next as well, or refuses the model. */
function continueFrom({ sites: found }: FoundAttention, sites: readonly ConvertedSite[], graph: Graph): void {
  const other = sites.find((site) => site.kind === "self" && (site.state !== "linear" || !site.causal));
  if (other !== undefined) {
    const how =
      other.state === "band"
        ? "attends within a window, and Favor carries no keys from one piece to the next"
        : other.causal
          ? `stays softmax (${other.because ?? other.state})`
          : "is not causal";
    throw cannotBeStateful(`attention ${other.site}, "${other.name}", ${how}`, { site: other.site });
  }
  const inBody = found.find(({ context }) => context.graph !== graph);
  if (inBody !== undefined) throw cannotBeStateful("it has attention inside a body of If, Loop or Scan", {});
  const { context } = found[0]!;
  refusePositionMixing(context);
  offsetPositions(context);
}

/** The domain of onnxruntime's own operators. */
const microsoft = "com.microsoft";

/** onnxruntime's own operators need their domain among the imports. */
function importMicrosoft(model: ModelProto): void {
  if (model.opsetImport.some(({ domain }) => domain === microsoft)) return;
  model.opsetImport.push(createMessage("OperatorSetIdProto", { domain: microsoft, version: Long.ONE }));
}

/** One writer for each graph that has sites: the main one, or a body of If, Loop or Scan. */
class SiteWriters {
  readonly #writers = new Map<Graph, SiteWriter>();

  of(context: AttentionContext): SiteWriter {
    const { graph } = context;
    const known = this.#writers.get(graph);
    if (known !== undefined) return known;
    const writer: SiteWriter = {
      context,
      build: new NodeBuilder(graph, "favor"),
      keeps: new Map(),
      windows: new Map(),
      removed: new Set(),
    };
    this.#writers.set(graph, writer);
    return writer;
  }

  /** Returns how many feed-forward layers the graphs with sites have. */
  rewriteFeedForwards(settings: Settings): number {
    return [...this.#writers.values()].reduce((sum, writer) => sum + rewriteFeedForwards(writer, settings), 0);
  }

  commit(): void {
    for (const { context, build, removed } of this.#writers.values()) {
      const { proto } = context.graph;
      proto.node = proto.node.filter((node) => !removed.has(node));
      build.commit();
      context.graph.reindex();
      detachShapes(context, build);
      build.commit();
      context.graph.reindex();
    }
  }

  /** Whether operators of a domain are in the graphs that have sites. */
  write(domain: string): boolean {
    return [...this.#writers.values()].some(({ context }) =>
      context.graph.nodes.some((node) => node.domain === domain),
    );
  }

  removeDead(): void {
    for (const { context } of this.#writers.values()) context.graph.removeDead();
  }
}

/** Masks and guards need the operator Where, which came with opset 9. */
function requireOpset({ opset }: Graph): void {
  if (opset >= 9) return;
  throw new GraphError(
    "cannot-raise-opset",
    `The model has opset ${opset}, but linear attention needs operators of opset 9 or later. Export the model with a ` +
      "newer opset, or raise it with onnx.version_converter.",
    { opset },
  );
}

function requireConvertible(
  found: FoundAttention,
  { features, rows }: Settings,
  { graph, notes: normalising }: NormalisedModel,
): void {
  const { sites } = found;
  const notes = [...normalising, ...found.notes];
  if (sites.some((entry) => "site" in entry)) return;
  if (features === "exact" && rows === "graph" && sites.some(({ blocks }) => "sum" in blocks)) return;
  const reports = sites.map(reportSite);
  const reasons = reasonLines(reports).map((line) => line.charAt(0).toUpperCase() + line.slice(1));
  const what =
    reports.length === 0
      ? "No softmax attention was found in this model."
      : reports.length === 1
        ? "The model's one attention layer cannot be replaced."
        : `None of the ${reports.length} attention layers can be replaced.`;
  const message = [what, ...reasons, ...notes, ...exactInstead(graph, found)].join(" ");
  throw new GraphError("nothing-convertible", message, { sites: reports, notes });
}

/** What exact attention by blocks would save where linear attention is not possible. */
function exactInstead(graph: Graph, found: FoundAttention): string[] {
  const exact = found.sites.filter(({ blocks }) => "sum" in blocks).length;
  if (exact === 0) return [];
  const [memory] = forwardMemory(graph, found, [8192]);
  const saved =
    memory?.exact === undefined
      ? ""
      : `: one forward pass of 8,192 tokens then takes ${shownBytes(memory.exact)} instead of ${shownBytes(memory.original)} (computed)`;
  const which = exact === found.sites.length ? "It can" : `${exact} of them can`;
  return [`${which} be computed exactly by blocks of queries, with the features "exact" (--features exact)${saved}.`];
}
