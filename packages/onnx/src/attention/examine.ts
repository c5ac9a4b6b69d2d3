import { FavorError, RandomStream, streamPurpose } from "@favor/core";
import { describeNode } from "../graph/node.ts";
import { shapeOf, type AttentionContext } from "./context.ts";
import { proveMask } from "./mask-proof.ts";
import { headsOf, operandOf, sizeOf } from "./operand-roles.ts";
import { productAxes } from "./product.ts";
import { projectionSources, scaleAbove } from "./projection-source.ts";
import { describeRefusal } from "./refusal.ts";
import type { Region } from "./region.ts";
import { regionInputs, type RegionLabels } from "./region-evaluation.ts";
import type { AttentionSite, FoundSite, MaskVerdict, Operand, Reason, RefusedSite } from "./site.ts";

interface Orientation {
  readonly labels: RegionLabels;
  readonly query: "left" | "right";
}

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
 * Proves that a region is an attention that may be replaced, or says why not.
 *
 * @returns undefined if what stands between the two products has nothing of a softmax
 */
export function examineRegion(
  context: AttentionContext,
  region: Region,
  index: number,
  layer: number,
): FoundSite | undefined {
  const softmax = region.nodes.find((node) => node.opType === "Softmax") ?? region.output.node;
  const name = softmax.name || softmax.output[0] || "";
  const inputs = regionInputs(context, region, context.first);
  const refuse = (reasons: Reason[], mask: MaskVerdict, facts: Partial<RefusedSite> = {}): FoundSite => ({
    context,
    refused: {
      index,
      layer,
      name,
      kind: "self",
      heads: 0,
      keyValueHeads: 0,
      headDim: 0,
      scale: 1,
      causal: mask.kind === "causal" || mask.kind === "padding and causal",
      mask,
      reasons,
      ...facts,
    },
  });
  const unknownMask: MaskVerdict = { kind: "other", evidence: "not examined" };
  if (region.nodes.every((node) => node.opType !== "Softmax" && node.opType !== "Exp")) return undefined;
  const early = describeRefusal(region, inputs);
  if (early !== undefined) return refuse([early], unknownMask, basicFacts(context, region));
  const random = new RandomStream({ seed: 0, purpose: streamPurpose.sampling, layer: index });
  for (const orientation of orientations(region)) {
    let proof;
    try {
      proof = proveMask(context, region, inputs, orientation.labels, () => random.uniform());
    } catch (error) {
      if (!FavorError.isInstance(error)) throw error;
      const reason = { code: "mask-not-evaluated", message: `The mask could not be evaluated: ${error.message}` };
      return refuse([reason], unknownMask, basicFacts(context, region));
    }
    if ("failure" in proof) {
      if (orientation.query === "left") continue;
      const message = `What stands between the two products is not a softmax of the logits: ${proof.failure}.`;
      return refuse([{ code: "not-softmax", message }], unknownMask, basicFacts(context, region));
    }
    const built = buildSite(context, region, orientation, proof.scale, proof.mask, { index, layer, name });
    const reasons = [...(built === undefined ? [layoutReason(region)] : []), ...proof.reasons];
    if (region.escapes.length > 0) {
      const output = region.escapes.find((value) => context.graph.isOutput(value));
      reasons.push(
        output === undefined
          ? {
              code: "probabilities-used",
              message: `The attention probabilities are also used elsewhere ("${region.escapes[0]}"), and linear attention never computes them.`,
            }
          : {
              code: "probabilities-are-output",
              message: `The attention probabilities are a graph output ("${output}"), and linear attention never computes them. Export the model without output_attentions.`,
            },
      );
    }
    if (built === undefined || reasons.length > 0) {
      return refuse(reasons, proof.mask, built ? factsOf(built) : basicFacts(context, region));
    }
    return { site: built, context };
  }
  return undefined;
}

const layoutReason = (region: Region): Reason => ({
  code: "layout-not-understood",
  message: `The axes of ${describeNode(region.logits.node)} or ${describeNode(region.output.node)} could not be told apart as batch, heads and positions.`,
});

function factsOf(site: AttentionSite): Partial<RefusedSite> {
  return {
    kind: site.kind,
    heads: site.heads,
    keyValueHeads: site.keyValueHeads,
    headDim: site.headDim,
    scale: site.logitScale * site.queryScale * site.keyScale,
  };
}

function basicFacts(context: AttentionContext, region: Region): Partial<RefusedSite> {
  const orientation = orientations(region)[0];
  const site =
    orientation &&
    buildSite(context, region, orientation, 1, { kind: "none", evidence: "" }, { index: 0, layer: 0, name: "" });
  return site ? factsOf(site) : {};
}

function buildSite(
  context: AttentionContext,
  region: Region,
  orientation: Orientation,
  scale: number,
  mask: MaskVerdict,
  named: { index: number; layer: number; name: string },
): AttentionSite | undefined {
  const { logits, output } = region;
  const axes = productAxes(logits)!;
  const outputAxes = productAxes(output)!;
  const keySide = orientation.query === "left" ? "right" : "left";
  const valueSide = region.probabilities.side === "left" ? "right" : "left";
  const query = operandOf(context, logits[orientation.query], {
    length: axes[orientation.query],
    dim: axes.contracted,
  });
  const key = operandOf(context, logits[keySide], { length: axes[keySide], dim: axes.contracted });
  const valueDims = outputAxes[valueSide];
  const value = operandOf(context, output[valueSide], { length: outputAxes.contracted, dim: valueDims });
  const made = operandOf(context, output.output, { length: outputAxes[region.probabilities.side], dim: valueDims });
  if (!query || !key || !value || !made || valueDims.length !== 1) return undefined;
  const dataType = shapeOf(context, query.value)!.dataType;
  return {
    ...named,
    kind: isSelf(context, query, key) ? "self" : "cross",
    heads: headsOf(context, query),
    keyValueHeads: Math.min(headsOf(context, key), headsOf(context, value)),
    headDim: sizeOf(context, query, "dim"),
    valueDim: sizeOf(context, value, "dim"),
    query,
    key,
    value,
    output: made,
    dataType,
    logitScale: scale * logits.alpha,
    queryScale: scaleAbove(context, query.value),
    keyScale: scaleAbove(context, key.value),
    mask,
    causal: mask.kind === "causal" || mask.kind === "padding and causal",
    outputNode: output.node,
  };
}

function isSelf(context: AttentionContext, query: Operand, key: Operand): boolean {
  if (sizeOf(context, query, "length") !== sizeOf(context, key, "length")) return false;
  const [a, b] = [projectionSources(context, query.value), projectionSources(context, key.value)];
  return a.size === b.size && [...a].every((source) => b.has(source));
}
