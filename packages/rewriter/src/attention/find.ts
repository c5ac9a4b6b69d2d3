import type { Graph } from "@favor/onnx/graph";
import { probePair, type ProbePair } from "@favor/onnx/graph";
import { bodies, describeNode } from "@favor/onnx/graph";
import type { NodeProto } from "@favor/onnx";
import { blockwiseSoftmax } from "./wiring/blockwise.ts";
import { bodyContext, dimsOf, makeContext, maskOperations, varies, type AttentionContext } from "./context.ts";
import { blockVerdict } from "./verdict/by-block.ts";
import { examineRegion, factsOf } from "./verdict/examine.ts";
import { FreeLengths } from "./free-lengths.ts";
import { fusedCandidates } from "./wiring/fused.ts";
import { cacheReason } from "../refusals/cache-reason.ts";
import { landmarkRegions } from "./wiring/landmark-attention.ts";
import { LayerCounter } from "./wiring/layer-counter.ts";
import { MaskProofs } from "./proof/mask-proofs.ts";
import { productAxes, type Product } from "./product.ts";
import { RowProbes } from "./rows/row-probes.ts";
import { dataProducts, findRegion, type Region } from "./wiring/region.ts";
import type { FoundSite } from "./site.ts";

export interface FoundAttention {
  readonly sites: readonly FoundSite[];
  /** Remarks on the whole graph: shapes that could not be followed, operators that may hide attention. */
  readonly notes: readonly string[];
}

/**
 * Finds all softmax attention of a model, in the order of data flow, and proves each replaceable or refuses it with
 * reasons.
 *
 * @param graph the main graph of a model whose functions are inlined and whose fused operators are decomposed
 * @param most limit of operations for evaluating all masks
 */
export function searchAttention(graph: Graph, most: number = maskOperations): FoundAttention {
  const pair = probePair(graph);
  if ("conflict" in pair) {
    const { conflict } = pair;
    return {
      sites: [],
      notes: [`The shapes of the graph contradict each other at ${describeNode(conflict.node)}: ${conflict.message}.`],
    };
  }
  const sites: FoundSite[] = [];
  const landmarks: Region[] = [];
  const blocks: NodeProto[] = [];
  findInGraph(makeContext(graph, pair.first, pair.second, most), pair, 0, { sites, landmarks, blocks });
  return { sites, notes: [...unfollowed(graph, pair), ...throughLandmarks(landmarks), ...inBlocks(blocks)] };
}

function inBlocks(softmax: readonly NodeProto[]): string[] {
  const [first] = softmax;
  if (first === undefined) return [];
  return [
    `${softmax.length} Softmax nodes (the first is ${describeNode(first)}) belong to attention that is not one product of all queries with all keys: within windows or blocks of a fixed size (Longformer, LongT5, Swin), over a fixed number of positions or latents (Perceiver), or with logits from several products (LUKE). It stays as it is.`,
  ];
}

function throughLandmarks(regions: readonly Region[]): string[] {
  const [first] = regions;
  if (first === undefined) return [];
  return [
    `Attention through landmarks, a few tokens that represent all (as in Nystromformer, with a pseudo-inverse, or agent attention), is already linear in the length and stays as it is. It starts at ${describeNode(first.logits.node)}.`,
  ];
}

/** A note that attention may have been overlooked: a softmax of a value with an unknown shape. */
function unfollowed(graph: Graph, { first: { info } }: ProbePair): string[] {
  const isUnknown = (value: string | undefined): boolean => value !== undefined && value !== "" && !info.has(value);
  const hidden = graph.nodes.filter((node) => node.opType === "Softmax" && isUnknown(node.input[0]));
  if (hidden.length === 0) return [];
  const first = graph.nodes.find(({ input, output }) => isUnknown(output[0]) && !input.some(isUnknown));
  const where = first === undefined ? "an input without a shape" : describeNode(first);
  return [
    `The shapes behind ${where} are unknown. Favor did not look at ${hidden.length} Softmax nodes there (the first is ${describeNode(hidden[0]!)}).`,
  ];
}

interface Candidate {
  readonly node: NodeProto;
  readonly examine: (index: number, layer: number) => FoundSite | undefined;
}

interface Findings {
  readonly sites: FoundSite[];
  /** Regions of attention that is linear already. */
  readonly landmarks: Region[];
  /** Softmax of attention in windows and blocks. */
  readonly blocks: NodeProto[];
}

/** Appends the attention of one graph, and that of its nodes' bodies at the nodes' places. */
function findInGraph(context: AttentionContext, probes: ProbePair, firstLayer: number, found: Findings): void {
  const { graph } = context;
  const { sites } = found;
  const layers = new LayerCounter(graph);
  const candidates = new Map(candidatesOf(context, found).map((candidate) => [candidate.node, candidate]));
  for (const node of graph.nodes) {
    const before = sites.length;
    const layer = firstLayer + layers.below(node);
    for (const body of bodies(node)) {
      const inner = bodyContext(context, body, probes);
      if (inner !== undefined) findInGraph(inner, probes, layer, found);
    }
    if (node.opType === "If") refuseBesideCache(sites, before);
    const site = candidates.get(node)?.examine(sites.length, layer);
    if (site !== undefined) sites.push(site);
    if (sites.length > before) layers.add(node);
  }
}

const hasCache = (entry: FoundSite): boolean =>
  "refused" in entry && entry.refused.reasons.some((reason) => reason.code === "kv-cache");

/** A branch without a cache is a step of the same decoder as the branch with one, so both stay softmax. */
function refuseBesideCache(sites: FoundSite[], from: number): void {
  if (!sites.slice(from).some(hasCache)) return;
  for (let i = from; i < sites.length; i++) {
    const entry = sites[i]!;
    if (!("site" in entry)) continue;
    const reason = cacheReason("The other branch of the same If");
    const { context, blocks } = entry;
    sites[i] = { context, blocks, refused: { ...entry.site, ...factsOf(entry.site), reasons: [reason] } };
  }
}

/** Candidates for attention in one graph; attention through landmarks or in blocks goes to `found`. */
function candidatesOf(context: AttentionContext, found: Findings): Candidate[] {
  const products = dataProducts(context);
  const proofs = new MaskProofs(context);
  const byNode = new Map(products.map((product) => [product.node, product]));
  const regions = products.flatMap((product) => findRegion(context, product, byNode) ?? []);
  const landmarks = landmarkRegions(context, regions, products);
  found.landmarks.push(...landmarks);
  const lengths = new FreeLengths(context);
  const quadratic = regions.filter((region) => !landmarks.has(region) && isQuadratic(context, lengths, region.logits));
  found.blocks.push(...blockwiseSoftmax(context, products, [...landmarks, ...quadratic]));
  const rows = quadratic.length > 0 ? new RowProbes(context) : undefined;
  const candidates = quadratic.map((region): Candidate => {
    const examine: Candidate["examine"] = (index, layer) => {
      const verdict = examineRegion(context, region, proofs, { index, layer });
      return verdict && { ...verdict, context, blocks: blockVerdict(rows!, region) };
    };
    return { node: region.output.node, examine };
  });
  return [...fusedCandidates(context), ...candidates];
}

/** Whether a product grows along two axes with the length, as logits do; d x d products and single queries do not. */
function isQuadratic(context: AttentionContext, free: FreeLengths, product: Product): boolean {
  const dims = dimsOf(context, product.output.value);
  if (dims === undefined) return false;
  const lengths = dims.filter((_, axis) => varies(context, product.output.value, axis) && !isBatchAxis(product, axis));
  if (lengths.length >= 2) return true;
  const batch = dims.filter((_, axis) => varies(context, product.output.value, axis) && isBatchAxis(product, axis));
  // A fixed length, perhaps only of the image next to a text: both axes must at least be longer than one.
  return dims.at(-1)! > 1 && dims.at(-2)! > 1 && !free.reach(product, batch);
}

function isBatchAxis(product: Product, axis: number): boolean {
  const axes = productAxes(product);
  return axes?.batch.includes(product.output.labels[axis]!) ?? false;
}
