import type { FeatureMapDescription } from "@favor/core";
import type { AttentionSite, FoundSite, MaskVerdict, Possibility } from "./attention/site.ts";
import { exactKeysOpset, type ExactKeys } from "./options.ts";
import type { Reason } from "./refusals/reason.ts";

/** The report on one attention of a model. Plain JSON. */
export interface SiteReport {
  /** 0-based, in the order of data flow. */
  readonly site: number;
  readonly layer: number;
  /** The softmax node, or the fused operator. */
  readonly name: string;
  readonly kind: "self" | "cross";
  /** 0 if unknown. */
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  /** The factor of q.k, with q and k as projected: usually d^(-1/2). */
  readonly scale: number;
  readonly mask: Pick<MaskVerdict, "kind" | "evidence" | "band" | "alibi">;
  readonly causal: boolean;
  /** Whether linear attention may replace it. */
  readonly verdict: "convert" | "refuse";
  /** What can be done with it. */
  readonly possible: readonly Possibility[];
  /** Why it cannot be computed by blocks of queries: the end of a sentence. Absent if it can. */
  readonly notByBlock?: string;
  /** Why it is refused; empty otherwise. */
  readonly reasons: readonly Reason[];
}

/** The exact keys of a site. */
export type SiteExactKeys = Required<ExactKeys>;

/** One attention and its outcome. */
export interface ConvertedSite extends SiteReport {
  /**
   * "linear": replaced by linear attention. "band": exact attention within a window, written without the numbers outside
   * of it. "exact by block": the same attention without a tensor of queries x keys. "unchanged": as it was.
   */
  readonly state: "linear" | "band" | "exact by block" | "unchanged";
  /** Why it is unchanged: an option keeps it, or it cannot be replaced. Absent otherwise. */
  readonly because?: "kept" | "refused";
  /** One description per head, none if exact keys are all; absent for exact attention and for sites that stay softmax. */
  readonly featureMaps?: readonly FeatureMapDescription[];
  /** Whether the calibration of query and key was folded into the projections' weights, at no cost at run time. */
  readonly folded?: { readonly query: boolean; readonly key: boolean };
  /** Which keys are exact beside the features; absent if none are. */
  readonly exactKeys?: SiteExactKeys;
}

export function reportSite(found: FoundSite): SiteReport {
  const of = "site" in found ? found.site : found.refused;
  return {
    site: of.index,
    layer: of.layer,
    name: of.name,
    kind: of.kind,
    heads: of.heads,
    keyValueHeads: of.keyValueHeads,
    headDim: of.headDim,
    scale: "site" in found ? logitScaleOf(found.site) : found.refused.scale,
    mask: {
      kind: of.mask.kind,
      evidence: of.mask.evidence,
      ...(of.mask.band && { band: of.mask.band }),
      ...(of.mask.alibi && { alibi: of.mask.alibi }),
    },
    causal: of.causal,
    verdict: "site" in found ? "convert" : "refuse",
    possible: possibilities(found),
    ...("refused" in found && "failure" in found.blocks && { notByBlock: found.blocks.failure }),
    reasons: "site" in found ? [] : found.refused.reasons,
  };
}

function possibilities(found: FoundSite): Possibility[] {
  // What was proved of a site can be written by blocks as well.
  const isExact = "sum" in found.blocks || "site" in found;
  return [...("site" in found ? linearForms(found) : []), ...(isExact ? ["exact by block" as const] : [])];
}

function linearForms({ site, context }: Extract<FoundSite, { site: AttentionSite }>): Possibility[] {
  if (site.mask.band) return ["band"];
  const hasExactKeys = site.mask.alibi === undefined && context.graph.opset >= exactKeysOpset;
  return ["linear", ...(hasExactKeys ? ["linear with exact keys" as const] : [])];
}

/** The scale between the projections and the softmax, rounded to float32. */
function logitScaleOf(site: AttentionSite): number {
  return Math.fround(site.logitScale * site.queryScale * site.keyScale);
}
