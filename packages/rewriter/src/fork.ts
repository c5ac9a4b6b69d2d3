import type { GraphProto, NodeProto } from "@favor/onnx";
import { Graph, type GraphProbe } from "@favor/onnx/graph";
import type { AttentionContext } from "./attention/context.ts";
import type { FoundAttention } from "./attention/find.ts";
import type { BlockVerdict, FoundSite } from "./attention/site.ts";
import { CopiedModel, copyNode } from "./normalise/copy.ts";
import type { NormalisedModel } from "./normalise/normalise.ts";

/** A normalised model and what was found in it, free to be edited. */
export interface Fork {
  readonly normalised: NormalisedModel;
  readonly found: FoundAttention;
}

/**
 * Copies a normalised model, with everything that was found in it pointing into the copy. Probes and proofs are about
 * values by name, and so hold for the copy as well; weights are shared.
 */
export function forkAttention({ model, graph, decomposed, notes }: NormalisedModel, found: FoundAttention): Fork {
  const copy = new CopiedModel(model);
  const root = Graph.of(copy.model);
  const graphs = new Map<Graph, Graph>([[graph, root]]);
  const graphOf = (original: Graph): Graph => {
    const known = graphs.get(original);
    if (known !== undefined) return known;
    const made = graphOf(original.outer!).body(copy.of<GraphProto>(original.proto));
    graphs.set(original, made);
    return made;
  };
  const contexts = new Map<AttentionContext, AttentionContext>();
  const contextOf = (original: AttentionContext): AttentionContext => {
    const known = contexts.get(original) ?? {
      ...original,
      graph: graphOf(original.graph),
      first: copiedProbe(original.first, copy),
      second: original.second && copiedProbe(original.second, copy),
    };
    contexts.set(original, known);
    return known;
  };
  const sites = found.sites.map((entry): FoundSite => {
    const context = contextOf(entry.context);
    const blocks = copiedVerdict(entry.blocks, copy);
    if ("refused" in entry) return { context, blocks, refused: entry.refused };
    return { context, blocks, site: { ...entry.site, outputNode: copy.of<NodeProto>(entry.site.outputNode) } };
  });
  const operators = decomposed.map((entry) => ({
    ...entry,
    graph: graphOf(entry.graph),
    operator: copyNode(entry.operator, (body) => body),
    product: copy.of<NodeProto>(entry.product),
  }));
  return {
    normalised: { model: copy.model, graph: root, decomposed: operators, notes },
    found: { sites, notes: found.notes },
  };
}

/** Bodies are known by their graphs, and those are copied. */
function copiedProbe(probe: GraphProbe, copy: CopiedModel): GraphProbe {
  return { ...probe, bodies: new Map([...probe.bodies].map(([body, info]) => [copy.of<GraphProto>(body), info])) };
}

function copiedVerdict(blocks: BlockVerdict, copy: CopiedModel): BlockVerdict {
  if ("failure" in blocks) return blocks;
  const { sum } = blocks;
  return { sum: { ...sum, product: { ...sum.product, node: copy.of<NodeProto>(sum.product.node) } } };
}
