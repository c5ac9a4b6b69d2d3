import type { FoundAttention } from "./attention/find.ts";
import { planFeedForwards } from "./attention/rows/feed-forward.ts";
import { RowProbes } from "./attention/rows/row-probes.ts";
import type { AttentionSite, FoundSite } from "./attention/site.ts";
import { planOf } from "./attention/verdict/by-block.ts";
import { bandBytes } from "./emit/band.ts";
import { autoBlock, feedForwardBlock } from "./emit/block-scan.ts";
import { bandBlock } from "./emit/rewrite-site.ts";
import { reportSite } from "./report.ts";
import { layoutOperators } from "@favor/onnx/semantics";
import { valuesRead, type Graph } from "@favor/onnx/graph";
import { ValueSizes } from "./value-sizes.ts";

/**
 * Bytes that the values of one forward pass take at most at the same time, for a batch of one, without weights. Attention within
 * windows is written as windows in each form but the original.
 */
export interface ForwardMemory {
  /** In tokens. */
  readonly length: number;
  /** The model as it is. */
  readonly original: number;
  /** With every attention exact by block that can be; absent if none can. */
  readonly exact?: number;
  /** With every attention linear that can be ({@link shownForms}), the others as they are; absent if none can. */
  readonly linear?: number;
  /** The same with exact keys where these are possible; absent if they nowhere are. */
  readonly exactKeys?: number;
}

/** What one attention holds at most between its operands and its output: {@link ForwardMemory} of nothing else. */
export interface SiteMemory extends ForwardMemory {
  /** As a window; absent if it has none. */
  readonly band?: number;
}

/** The forms whose memory is computed: how many features each head has, without exact keys and with them. */
export const shownForms = { features: 256, exactKeys: { window: 64, chosenBlocks: 8, features: 32 } } as const;

/**
 * Peak memory of hybrid attention as a multiple of its keys and values, measured with blocks of 64 and 8 chosen
 * (docs/adr/0022-hybrid-attention-in-onnx.md).
 */
const hybridShare = 5.5;

/**
 * Computes the memory of one forward pass by following which values are alive after each node, in the order of the
 * graph. Runtimes reserve more than that, some of them up to twice as much.
 *
 * @param graph the main graph
 * @returns nothing if the graph takes inputs of one length alone
 */
export function forwardMemory(graph: Graph, { sites }: FoundAttention, lengths: readonly number[]): ForwardMemory[] {
  const sizes = ValueSizes.of(graph, sites[0]?.context.first.sizes);
  if (sizes === undefined) return [];
  const own = sites.filter(({ context }) => context.graph === graph);
  const probes = own[0] && new RowProbes(own[0].context);
  const made = new Map(
    own.flatMap((found) => [...valuesBetween(probes!, found)].map((value) => [value, found] as const)),
  );
  const feedForward = new Set(
    (probes ? planFeedForwards(probes) : []).flatMap(({ steps, output }) =>
      steps.flatMap(({ node }) => (node === output.node ? [] : node.output)),
    ),
  );
  return lengths.map((length): ForwardMemory => {
    const whole = (value: string): number => sizes.bytes(value, length);
    const peak = (form: Form): number =>
      peakOf(graph, (value) => {
        if (form === "exact" && feedForward.has(value)) return inBlocks(whole(value), length, feedForwardBlock);
        const found = made.get(value);
        return found === undefined ? whole(value) : bytesWithin(found, form, value, sizes, length);
      });
    return {
      length,
      original: peakOf(graph, whole),
      ...(own.some(isExact) && { exact: peak("exact") }),
      ...(own.some(isLinear) && { linear: peak("linear") }),
      ...(own.some(takesExactKeys) && { exactKeys: peak("exactKeys") }),
    };
  });
}

/**
 * Computes what each attention holds at most between its operands and its output, as {@link forwardMemory} does.
 *
 * @returns for each site, nothing if it lies in a body of If, Loop or Scan, is one operator, or takes inputs of one length alone
 */
export function siteMemory(graph: Graph, { sites }: FoundAttention, lengths: readonly number[]): SiteMemory[][] {
  const sizes = ValueSizes.of(graph, sites[0]?.context.first.sizes);
  const first = sites.find(({ context }) => context.graph === graph);
  const probes = first && new RowProbes(first.context);
  return sites.map((found) => {
    if (sizes === undefined || found.context.graph !== graph) return [];
    const own = valuesBetween(probes!, found);
    if (own.size === 0) return [];
    return lengths.map((length): SiteMemory => {
      const peak = (form?: Form): number =>
        peakOf(graph, (value) => {
          if (!own.has(value)) return 0;
          return form === undefined ? sizes.bytes(value, length) : bytesWithin(found, form, value, sizes, length);
        });
      const isBand = isLinear(found) && found.site.mask.band !== undefined;
      return {
        length,
        original: peak(),
        ...(isExact(found) && !isBand && { exact: peak("exact") }),
        ...(isLinear(found) && { [isBand ? "band" : "linear"]: peak("linear") }),
        ...(takesExactKeys(found) && { exactKeys: peak("exactKeys") }),
      };
    });
  });
}

type LinearSite = Extract<FoundSite, { site: AttentionSite }>;

const isExact = (found: FoundSite): boolean => "sum" in found.blocks || "site" in found;
const isLinear = (found: FoundSite): found is LinearSite => "site" in found;
const takesExactKeys = (found: FoundSite): found is LinearSite =>
  reportSite(found).possible.includes("linear with exact keys");

/** Bytes of what is cut into blocks of rows. */
const inBlocks = (whole: number, length: number, most: number): number =>
  (whole * Math.ceil(length / Math.ceil(length / most))) / length;

type Form = "exact" | "linear" | "exactKeys";

/** Bytes of a value between the products of an attention, in a form that the attention may take. */
function bytesWithin(found: FoundSite, form: Form, value: string, sizes: ValueSizes, length: number): number {
  const whole = sizes.bytes(value, length);
  if (!sizes.isQuadratic(value)) return whole;
  const instead = bytesOfForm(found, form, length);
  // The logits stand for all of it.
  if (typeof instead === "number") return value === logitsOf(found) ? instead : 0;
  return instead === "by block" ? inBlocks(whole, length, autoBlock(length)) : whole;
}

/** What an attention of some form holds, or how its values are cut. */
function bytesOfForm(found: FoundSite, form: Form, length: number): number | "by block" | "as it is" {
  if (!isLinear(found)) return form === "exact" && isExact(found) ? "by block" : "as it is";
  const { heads, headDim, valueDim, mask } = found.site;
  if (mask.band !== undefined) return bandBytes(found.site, mask.band, bandBlock, length);
  if (form === "exact") return "by block";
  // Features of queries and of keys.
  if (form === "linear" || !takesExactKeys(found)) return 2 * 4 * shownForms.features * heads * length;
  const { window, chosenBlocks } = shownForms.exactKeys;
  // While all keys are exact, it is exact attention by block.
  if (length <= window * (chosenBlocks + 2)) return "by block";
  return hybridShare * 4 * heads * length * (headDim + valueDim);
}

function logitsOf({ blocks }: FoundSite): string | undefined {
  const [logits] = "sum" in blocks ? blocks.sum.made : (blocks.made ?? []);
  return logits;
}

/** Values between the products of an attention: those that blocks cut, or else what is known to lie there. */
function valuesBetween(probes: RowProbes, { blocks }: FoundSite): ReadonlySet<string> {
  if ("failure" in blocks) return blocks.made ?? new Set();
  return new Set(
    planOf(probes, blocks.sum).steps.flatMap(({ node }, i, { length }) => (i === length - 1 ? [] : node.output)),
  );
}

/** The largest sum of values that are alive at the same time. */
function peakOf(graph: Graph, bytes: (value: string) => number): number {
  const lastReader = new Map<string, number>();
  const reads = graph.nodes.map(valuesRead);
  // A view of a value keeps it alive.
  const viewed = new Map<string, string>();
  const root = (value: string): string => viewed.get(value) ?? value;
  for (const [at, node] of graph.nodes.entries()) {
    if (layoutOperators.has(node.opType) && node.opType !== "Transpose")
      viewed.set(node.output[0]!, root(node.input[0]!));
    for (const value of reads[at]!) lastReader.set(root(value), at);
  }
  for (const { name } of graph.proto.output) lastReader.set(root(name), Infinity);
  const dying = new Map<number, string[]>();
  for (const [value, at] of lastReader) dying.set(at, [...(dying.get(at) ?? []), value]);
  const held = new Map<string, number>();
  let [alive, most] = [0, 0];
  for (const [at, node] of graph.nodes.entries()) {
    if (node.opType === "Constant") continue;
    const ending = (dying.get(at) ?? []).filter((value) => held.has(value));
    for (const value of node.output) {
      if (value === "" || viewed.has(value)) continue;
      const size = bytes(value);
      held.set(value, size);
      alive += size;
    }
    most = Math.max(most, alive);
    for (const value of ending) {
      alive -= held.get(value)!;
      held.delete(value);
    }
    // Nothing reads it.
    for (const value of node.output) {
      if (!held.has(value) || lastReader.has(value)) continue;
      alive -= held.get(value)!;
      held.delete(value);
    }
  }
  return most;
}
