import type { NodeProto } from "@favor/onnx";
import { valuesRead } from "@favor/onnx/graph";
import type { Graph } from "@favor/onnx/graph";

import { isFeatureInitializer } from "./feature-initializers.ts";

/** A branch of a Transformer layer, computed from x and then added to x. */
export interface ResidualBranch {
  /** The added value. */
  readonly value: string;
  /** The node that adds it. */
  readonly addition: NodeProto;
  /** The nodes between x and the value. */
  readonly nodes: readonly NodeProto[];
  /** Whether it contains attention: softmax, a fused operator, or a feature map. */
  readonly attends: boolean;
}

const additions: ReadonlySet<string> = new Set(["Add", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization"]);
const attentionOperators: ReadonlySet<string> = new Set(["Softmax", "Attention", "MultiHeadAttention"]);
const products: ReadonlySet<string> = new Set(["MatMul", "FusedMatMul", "Gemm", "Attention"]);

/**
 * Finds the residual branches of a graph: additions of x and a value computed from x through a product with a weight.
 * Biases, sums of embeddings and sums inside activations do not count.
 */
export function residualBranches(graph: Graph): ResidualBranch[] {
  return graph.nodes.flatMap((node) => {
    const [a, b] = node.input;
    if (!additions.has(node.opType) || !a || !b || graph.isConstant(a) || graph.isConstant(b)) return [];
    const branch = branchBetween(a, b, graph) ?? branchBetween(b, a, graph);
    return branch === undefined ? [] : [{ ...branch, addition: node }];
  });
}

/** The branch from `skip` to `value`; undefined if there is none. */
function branchBetween(skip: string, value: string, graph: Graph): Omit<ResidualBranch, "addition"> | undefined {
  const nodes = new Set<NodeProto>();
  let isReached = false;
  const pending = [value];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (next === skip) {
      isReached = true;
      continue;
    }
    const node = graph.producer(next);
    if (node === undefined || nodes.has(node)) continue;
    nodes.add(node);
    pending.push(...valuesRead(node));
  }
  const found = [...nodes];
  const isWeighted = found.some(
    (node) => products.has(node.opType) && node.input.some((input) => graph.initializer(input) !== undefined),
  );
  if (!isReached || !isWeighted) return undefined;
  const attends = found.some(
    (node) => attentionOperators.has(node.opType) || node.input.some((input) => isFeatureInitializer(input)),
  );
  return { value, nodes: found, attends };
}
