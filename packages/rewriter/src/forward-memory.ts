import type { FoundAttention } from "./attention/find.ts";
import { planFeedForwards } from "./attention/rows/feed-forward.ts";
import { RowProbes } from "./attention/rows/row-probes.ts";
import type { FoundSite } from "./attention/site.ts";
import { planOf } from "./attention/verdict/by-block.ts";
import { autoBlock, feedForwardBlock } from "./emit/block-scan.ts";
import { layoutOperators } from "@favor/onnx/semantics";
import { valuesRead, type Graph } from "@favor/onnx/graph";
import { ValueSizes } from "./value-sizes.ts";

/** Bytes that the values of one forward pass take at most at the same time, for a batch of one, without weights. */
export interface ForwardMemory {
  /** In tokens. */
  readonly length: number;
  /** The model as it is. */
  readonly original: number;
  /** With every attention exact by block that can be; absent if none can. */
  readonly exact?: number;
  /** With every attention linear that can be (256 features per head), the others as they are; absent if none can. */
  readonly linear?: number;
}

/** Features per head: the default. */
const features = 256;

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
  const made = ownValues(own);
  const peak = (bytes: (value: string) => number): number => peakOf(graph, bytes);
  return lengths.map((length): ForwardMemory => {
    const whole = (value: string): number => sizes.bytes(value, length);
    const inBlocks = (value: string): number => {
      const isCut = made.feedForward.has(value) || (made.exact.has(value) && sizes.isQuadratic(value));
      if (!isCut) return whole(value);
      const most = made.feedForward.has(value) ? feedForwardBlock : autoBlock(length);
      return (whole(value) * Math.ceil(length / Math.ceil(length / most))) / length;
    };
    const withFeatures = (value: string): number => {
      const heads = made.linear.get(value);
      if (heads === undefined || !sizes.isQuadratic(value)) return whole(value);
      return 4 * features * heads * length;
    };
    return {
      length,
      original: peak(whole),
      ...(made.exact.size > 0 && { exact: peak(inBlocks) }),
      ...(made.linear.size > 0 && { linear: peak(withFeatures) }),
    };
  });
}

interface OwnValues {
  /** Values between the products of attention: those that blocks cut. */
  readonly exact: Set<string>;
  /** Values within feed-forward layers, which blocks of positions cut. */
  readonly feedForward: Set<string>;
  /** Values that features replace, with their heads. */
  readonly linear: Map<string, number>;
}

function ownValues(sites: readonly FoundSite[]): OwnValues {
  const own: OwnValues = { exact: new Set(), feedForward: new Set(), linear: new Map() };
  const probes = sites[0] && new RowProbes(sites[0].context);
  for (const found of sites) {
    if ("failure" in found.blocks) continue;
    for (const { node } of planOf(probes!, found.blocks.sum).steps) {
      for (const value of node.output) {
        own.exact.add(value);
        if ("site" in found) own.linear.set(value, found.site.heads);
      }
    }
  }
  for (const { steps, output } of probes ? planFeedForwards(probes) : []) {
    for (const { node } of steps) if (node !== output.node) node.output.forEach((value) => own.feedForward.add(value));
  }
  return own;
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
