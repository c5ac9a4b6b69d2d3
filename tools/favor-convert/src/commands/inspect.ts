import { findAttention } from "@favor/rewriter";
import type { ForwardMemory, SiteMemory, SiteReport } from "@favor/rewriter";

import { silent } from "@favor/checkpoints";
import type { Progress } from "@favor/checkpoints";
import type { SiteCost } from "@favor/report";
import { breakEvenOf } from "./break-even.ts";
import type { BreakEven } from "./break-even.ts";
import { checkConfiguration } from "./check-configuration.ts";
import { maximumTokens, openSourceModel } from "@favor/checkpoints/node";
import { openSource } from "@favor/checkpoints/node";
import type { SourceOptions } from "@favor/checkpoints/node";
import { defaultCount, maskOperations } from "./request.ts";

export interface InspectedSite extends SiteReport {
  /** What it holds at 512, 2,048 and 8,192 tokens, computed; empty where that is unknown. */
  readonly memory: readonly SiteMemory[];
}

export interface Inspection {
  /** The model's file, absolute. */
  readonly model: string;
  /** Every softmax attention of the graph, in the order of data flow, with the memory of each form that is possible. */
  readonly sites: readonly InspectedSite[];
  readonly notes: readonly string[];
  /** Memory of one forward pass at 512, 2,048 and 8,192 tokens, computed; empty for inputs of one length alone. */
  readonly memory: readonly ForwardMemory[];
  /** Of attention that is converted with 256 features per head, or within its windows; absent if none can be. */
  readonly breakEven?: BreakEven;
  /** Number of nodes of each operator, without those in bodies of If, Loop and Scan. */
  readonly operators: Readonly<Record<string, number>>;
}

/**
 * Lists every attention of a checkpoint and whether it can be replaced.
 *
 * @param path - a checkpoint folder, an `.onnx` file or the id of a model on the Hub.
 * @param options - which of its files to use.
 * @throws {InputError} and the errors of `@favor/onnx` for a source that cannot be read.
 */
export async function inspect(
  path: string,
  options: SourceOptions = {},
  progress: Progress = silent,
): Promise<Inspection> {
  const source = await openSource(path, options, progress);
  const opened = await openSourceModel(source);
  try {
    const { model } = opened;
    const operators: Record<string, number> = {};
    for (const { opType } of model.graph?.node ?? []) operators[opType] = (operators[opType] ?? 0) + 1;
    const found = findAttention(model, { maskOperations });
    const { notes } = found;
    const siteMemory = found.sites.length === 0 ? [] : found.siteMemory();
    const sites = found.sites.map((site, i): InspectedSite => ({ ...site, memory: siteMemory[i]! }));
    const own = [...opened.notes, ...conversionNote(model.metadataProps)];
    const remarks = [...own, ...notes, ...checkConfiguration(source.config, sites)];
    const breakEven = breakEvenOf(sites.map(costOf), maximumTokens(source.config, found.longestInput));
    return {
      model: source.modelPath,
      sites,
      notes: remarks,
      ...(breakEven !== undefined && { breakEven }),
      memory: sites.length === 0 ? [] : found.memory(),
      operators,
    };
  } finally {
    opened.close();
  }
}

/** What a site would cost if it were converted with the default number of features. */
function costOf({ heads, headDim, possible, mask: { band } }: SiteReport): SiteCost {
  if (band !== undefined && possible.includes("band")) {
    return { heads, headDim, features: 0, keys: band.before + 1 + band.after };
  }
  return { heads, headDim, features: possible.includes("linear") ? defaultCount : 0 };
}

/** Explains why a converted model has fewer softmax attentions. */
function conversionNote(metadata: readonly { readonly key: string }[]): string[] {
  if (!metadata.some(({ key }) => key === "favor")) return [];
  return ["This model was already converted by Favor, so replaced attention is not listed. See its favor.json."];
}
