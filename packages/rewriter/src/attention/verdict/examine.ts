import { RandomStream, streamPurpose, type FavorError } from "@favor/core";
import { EvaluationLimitError } from "@favor/onnx/evaluate";
import { describeNode, GraphError } from "@favor/onnx/graph";
import { withSlopesOf } from "../alibi.ts";
import { cacheReason } from "../../refusals/cache-reason.ts";
import { cacheInput } from "../operands/key-value-cache.ts";
import { channelAxes } from "../operands/channel-axes.ts";
import { shapeOf, type AttentionContext } from "../context.ts";
import { foldedQueryReasons } from "./folded-queries.ts";
import type { Unproved } from "../proof/mask-proof.ts";
import type { MaskProofs } from "../proof/mask-proofs.ts";
import { batchOf, groupedHeads, headsOf, operandOf, sizeOf } from "../operands/operand-roles.ts";
import { productAxes } from "../product.ts";
import { haveOneSource } from "../operands/projection-source.ts";
import { scaleAbove } from "../operands/scale-above.ts";
import { describeRefusal } from "./refusal.ts";
import type { Region, RegionLabels } from "../wiring/region.ts";
import { regionInputs } from "../proof/region-evaluation.ts";
import { reasonFor, type Reason } from "../../refusals/reason.ts";
import { isCausal, type AttentionSite, type MaskVerdict, type Operand, type RefusedSite } from "../site.ts";

/** Whether an attention may be replaced, by linear attention or within its band. */
type LinearVerdict = { readonly site: AttentionSite } | { readonly refused: RefusedSite };

interface Orientation {
  readonly labels: RegionLabels;
  readonly query: "left" | "right";
}

const softmaxes: readonly string[] = ["Softmax", "QLinearSoftmax"];

/** The two ways to read the logits: rows are queries, or rows are keys. */
function orientations(region: Region): Orientation[] {
  const logits = productAxes(region.logits);
  const output = productAxes(region.output);
  if (logits?.left.length !== 1 || logits.right.length !== 1 || output === undefined) return [];
  const { side } = region.probabilities;
  const factor = region.output[side];
  const own = side === "left" ? output.left : output.right;
  if (own.length !== 1) return [];
  const probabilities = {
    labels: factor.labels,
    batch: [...factor.labels].filter((label) => output.batch.includes(label)).join(""),
    query: own,
    key: output.contracted,
  };
  return (["left", "right"] as const).map((query) => ({
    query,
    labels: {
      logits: {
        labels: region.logits.output.labels,
        batch: [...region.logits.output.labels].filter((label) => logits.batch.includes(label)).join(""),
        query: logits[query],
        key: logits[query === "left" ? "right" : "left"],
      },
      probabilities,
    },
  }));
}

/**
 * Proves that a region is an attention that linear attention may replace, or says why it may not.
 *
 * @param proofs proofs for the graph's other regions
 * @returns undefined if nothing between the two products resembles a softmax
 */
export function examineRegion(
  context: AttentionContext,
  region: Region,
  proofs: MaskProofs,
  { index, layer }: { readonly index: number; readonly layer: number },
): LinearVerdict | undefined {
  const softmax = region.nodes.find((node) => softmaxes.includes(node.opType)) ?? region.output.node;
  const name = softmax.name || softmax.output[0] || "";
  const inputs = regionInputs(context, region, context.first);
  const refuse = (reasons: Reason[], mask: MaskVerdict, facts: Partial<RefusedSite> = {}): LinearVerdict => ({
    refused: {
      index,
      layer,
      name,
      kind: "self",
      heads: 0,
      keyValueHeads: 0,
      headDim: 0,
      scale: 1,
      causal: isCausal(mask),
      mask,
      reasons,
      ...facts,
    },
  });
  const unknownMask: MaskVerdict = { kind: "other", evidence: "not examined" };
  if (region.nodes.every((node) => node.opType !== "Exp" && !softmaxes.includes(node.opType))) return undefined;
  if (comparesChannels(context, region)) return undefined;
  const early = describeRefusal(context, region, inputs);
  if (early !== undefined) return refuse([early], unknownMask, basicFacts(context, region));
  const random = new RandomStream({ seed: 0, purpose: streamPurpose.sampling, layer: index });
  let unproved: Unproved | undefined;
  for (const orientation of orientations(region)) {
    const operands = readOperands(context, region, orientation);
    const proof = proofs.of({
      context,
      region,
      inputs,
      labels: orientation.labels,
      batchAt: (probe) => batchOf(context, operands?.query, probe),
      random: () => random.uniform(),
    });
    const cached = cacheReasons(context, operands);
    if ("error" in proof) {
      if (proof.error instanceof GraphError) throw proof.error;
      // The past may have another length than the mask expects. Then the cache is the reason, not the mask.
      const reasons = cached.length > 0 ? cached : [notEvaluated(proof.error)];
      return refuse(reasons, unknownMask, basicFacts(context, region));
    }
    if ("failure" in proof) {
      unproved ??= proof;
      if (orientation.query === "left") continue;
      const found = `The part between the two products is not a softmax of the logits: ${unproved.failure}.`;
      return refuse([reasonFor("not-softmax", found, unproved.remedy)], unknownMask, basicFacts(context, region));
    }
    const built = operands && buildSite(context, region, operands, proof.scale, proof.mask, { index, layer, name });
    const reasons = [
      ...(built === undefined ? [layoutReason(region)] : []),
      ...foldedQueryReasons(context, region, orientation.labels, proof.reasons),
      ...cached,
      ...(cached.length === 0 && built?.causal ? memoryReasons(context, built) : []),
      ...(built ? slopeReasons(context, built) : []),
      ...escapeReasons(context, region),
    ];
    if (built === undefined || reasons.length > 0) {
      return refuse(reasons, proof.mask, built ? factsOf(built) : basicFacts(context, region));
    }
    return { site: built };
  }
  return refuse([layoutReason(region)], unknownMask);
}

function notEvaluated(error: FavorError): Reason {
  const code = "mask-not-evaluated";
  if (!(error instanceof EvaluationLimitError)) {
    const remedy = "Export the model in evaluation mode, or with another exporter.";
    return reasonFor(code, `The mask could not be evaluated: ${error.message}`, remedy);
  }
  const { limit, allowed } = error.details;
  const smaller = "xport the model with dynamic axes, or for shorter inputs.";
  const remedy = limit === "operations" ? `Raise the option maskOperations, or e${smaller}` : `E${smaller}`;
  return reasonFor(code, `The mask is too large to be evaluated: it takes more than ${allowed} ${limit}.`, remedy);
}

/** Reasons against a region whose probabilities have readers other than the product with the values. */
function escapeReasons({ graph }: AttentionContext, { escapes }: Region): Reason[] {
  if (escapes.length === 0) return [];
  const output = escapes.find((value) => graph.isOutput(value));
  if (output === undefined) {
    const found = `Another part of the model reads the attention probabilities ("${escapes[0]}"). Linear attention never computes them.`;
    return [reasonFor("probabilities-used", found)];
  }
  const found = `The attention probabilities are a graph output ("${output}"). Linear attention never computes them.`;
  return [reasonFor("probabilities-are-output", found)];
}

function cacheReasons(context: AttentionContext, operands: Operands | undefined): Reason[] {
  const cache = operands && cacheInput(context, operands);
  return cache === undefined ? [] : [cacheReason(`Input "${cache}"`)];
}

/** Learned keys before the first position: refused, because the prefix sums of linear attention run with the queries. */
function memoryReasons(context: AttentionContext, { query, key }: AttentionSite): Reason[] {
  const extra = sizeOf(context, key, "length") - sizeOf(context, query, "length");
  if (extra === 0) return [];
  const found = `The attention is causal and has ${Math.abs(extra)} ${extra > 0 ? "more" : "fewer"} keys than queries: learned memory keys, or a state that is carried along. Prefix sums over the queries' positions cannot express that.`;
  return [reasonFor("memory-keys", found)];
}

/** Slopes that are not those of the site's heads, or distances between two sequences. */
function slopeReasons(context: AttentionContext, { query, key, heads, mask: { alibi } }: AttentionSite): Reason[] {
  if (alibi === undefined) return [];
  if (sizeOf(context, query, "length") !== sizeOf(context, key, "length")) {
    return [reasonFor("alibi", "The logits get an ALiBi bias between two sequences of different lengths.")];
  }
  if (alibi.slopes.length === heads) return [];
  const found = `The logits get an ALiBi bias with ${alibi.slopes.length} slopes for ${heads} heads.`;
  return [reasonFor("alibi", found)];
}

/**
 * Whether the logits compare channels and sum over positions, as in XCiT, or have a fixed number of keys, each a learned
 * mixture of all positions, as in Linformer. In both, the size of the logits is not quadratic in the length.
 */
function comparesChannels(context: AttentionContext, { logits }: Region): boolean {
  const axes = productAxes(logits);
  return (["left", "right"] as const).some((side) => {
    const { value, labels } = logits[side];
    const channels = axes && channelAxes(context, value);
    if (channels === undefined || channels.size === 0) return false;
    return !channels.has(labels.indexOf(axes!.contracted)) && channels.has(labels.indexOf(axes![side]));
  });
}

const layoutReason = ({ logits, output }: Region): Reason =>
  reasonFor(
    "layout-not-understood",
    `Favor cannot tell which axes of ${describeNode(logits.node)} or ${describeNode(output.node)} are batch, heads and positions.`,
  );

/** The facts of a refused attention whose operands are understood. */
export function factsOf(
  site: AttentionSite,
): Pick<RefusedSite, "kind" | "heads" | "keyValueHeads" | "headDim" | "scale"> {
  const { kind, heads, keyValueHeads, headDim } = site;
  return { kind, heads, keyValueHeads, headDim, scale: site.logitScale * site.queryScale * site.keyScale };
}

function basicFacts(context: AttentionContext, region: Region): Partial<RefusedSite> {
  const orientation = orientations(region)[0];
  const operands = orientation && readOperands(context, region, orientation);
  if (operands === undefined) return {};
  const mask: MaskVerdict = { kind: "none", evidence: "" };
  return factsOf(buildSite(context, region, operands, 1, mask, { index: 0, layer: 0, name: "" }));
}

/** A region's four tensors with their axes read. */
interface Operands {
  readonly query: Operand;
  readonly key: Operand;
  readonly value: Operand;
  readonly output: Operand;
}

function readOperands(
  context: AttentionContext,
  { logits, output, probabilities }: Region,
  orientation: Orientation,
): Operands | undefined {
  const axes = productAxes(logits)!;
  const outputAxes = productAxes(output)!;
  const keySide = orientation.query === "left" ? "right" : "left";
  const valueSide = probabilities.side === "left" ? "right" : "left";
  const dim = axes.contracted;
  const valueDim = outputAxes[valueSide];
  const grouped = groupedHeads(context, logits, logits.output.labels);
  const outputGrouped = groupedHeads(context, output, output[probabilities.side].labels);
  if (grouped?.sizes.join() !== outputGrouped?.sizes.join()) return undefined;
  const query = operandOf(context, logits[orientation.query], { length: axes[orientation.query], dim }, grouped);
  const key = operandOf(context, logits[keySide], { length: axes[keySide], dim }, grouped);
  const value = operandOf(context, output[valueSide], { length: outputAxes.contracted, dim: valueDim }, outputGrouped);
  const madeLabels = { length: outputAxes[probabilities.side], dim: valueDim };
  const made = operandOf(context, output.output, madeLabels, outputGrouped);
  if (!query || !key || !value || !made || valueDim.length !== 1) return undefined;
  const sides = [
    { roles: query.roles, labels: logits[orientation.query].labels, batch: orientation.labels.logits.batch },
    { roles: key.roles, labels: logits[keySide].labels, batch: orientation.labels.logits.batch },
    { roles: value.roles, labels: output[valueSide].labels, batch: orientation.labels.probabilities.batch },
    { roles: made.roles, labels: output.output.labels, batch: orientation.labels.probabilities.batch },
  ];
  return agree(sides) ? { query, key, value, output: made } : undefined;
}

const headRoles: ReadonlySet<string | undefined> = new Set(["head", "group"]);
const batchRoles: ReadonlySet<string | undefined> = new Set(["batch", "batch-head"]);

/** An operand's axes, and the labels of batch and heads of its product in the order in which the region keeps them. */
interface Side {
  readonly roles: Operand["roles"];
  readonly labels: string;
  readonly batch: string;
}

/**
 * Whether no axis is the batch in one operand and heads in another where the products and the region between them take
 * both for the same axis: their sizes may be equal by chance.
 */
function agree(sides: readonly Side[]): boolean {
  return [...sides[0]!.batch].every((_, at) => {
    const found = sides.map(({ roles, labels, batch }) => roles[labels.indexOf(batch[at]!)]);
    return !(found.some((role) => headRoles.has(role)) && found.some((role) => batchRoles.has(role)));
  });
}

function buildSite(
  context: AttentionContext,
  { logits, output: { node: outputNode } }: Region,
  { query, key, value, output }: Operands,
  scale: number,
  mask: MaskVerdict,
  named: { index: number; layer: number; name: string },
): AttentionSite {
  const heads = headsOf(context, query);
  return {
    ...named,
    kind: haveOneSource(context, query.value, key.value) ? "self" : "cross",
    heads,
    keyValueHeads: Math.min(headsOf(context, key), headsOf(context, value)),
    headDim: sizeOf(context, query, "dim"),
    valueDim: sizeOf(context, value, "dim"),
    query,
    key,
    value,
    output,
    dataType: shapeOf(context, query.value)!.dataType,
    logitScale: scale * logits.alpha,
    queryScale: scaleAbove(context, query.value),
    keyScale: scaleAbove(context, key.value),
    mask: withSlopesOf(heads, mask),
    causal: isCausal(mask),
    outputNode,
  };
}
