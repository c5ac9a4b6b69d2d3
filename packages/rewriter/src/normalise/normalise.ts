import { Graph } from "@favor/onnx/graph";
import { probePair } from "@favor/onnx/graph";
import type { ModelProto, NodeProto } from "@favor/onnx";
import { bodies, GraphError, nestedGraphs } from "@favor/onnx/graph";
import { CopiedModel } from "./copy.ts";
import { decomposeAttention, isAttentionOperator, type Decomposed } from "./decompose.ts";
import { inlineFunctions } from "./functions.ts";
import { moveTemperatures } from "./temperature.ts";
import { checkWiring } from "./wiring.ts";

/** A model in the one form that attention is looked for in: no function calls, no fused attention operators. */
export interface NormalisedModel {
  /** The main graph of `model`. */
  readonly graph: Graph;
  /** A copy: the given model is not changed. Weights are shared with it. */
  readonly model: ModelProto;
  /** Fused operators that are written out; see {@link restoreFused}. */
  readonly decomposed: readonly DecomposedOperator[];
  /** One sentence for each thing that could not be brought to that form. */
  readonly notes: readonly string[];
}

/**
 * Limit of nodes in a model, including those in bodies and of inlined functions: so many take some ten seconds and a
 * gigabyte. Exported models have some thousands, unrolled ones some ten thousands.
 */
export const mostNodes: number = 2 ** 19;

function requireFewNodes(model: ModelProto): void {
  let found = 0;
  for (const { node } of nestedGraphs([model.graph])) found += node.length;
  if (found <= mostNodes) return;
  throw new GraphError(
    "graph-too-large",
    `The model has ${found} nodes; Favor looks for attention in at most ${mostNodes}. Simplify the model first ` +
      "(onnxsim), export loops as Loop instead of unrolling them, or check where the file is from.",
    { found, limit: mostNodes },
  );
}

/** A fused attention operator and the nodes that stand for it. */
export interface DecomposedOperator extends Decomposed {
  readonly graph: Graph;
  readonly operator: NodeProto;
}

/**
 * Inlines local functions, writes fused attention operators out in plain ones, and moves temperatures of heads from the
 * logits to the queries, so that one way of finding and proving attention serves all. No result changes. Operators
 * without a plain form (with a key/value cache or quantised weights) stay.
 *
 * @throws GraphError "duplicate-value", "undefined-value", "cyclic-graph", "recursive-function", "expansion-too-large",
 *   and "graph-too-large" beyond {@link mostNodes}
 */
export function normaliseModel(original: ModelProto): NormalisedModel {
  requireFewNodes(original);
  const { model } = new CopiedModel(original);
  const notes = inlineFunctions(model);
  requireFewNodes(model);
  checkWiring(model);
  const graph = Graph.of(model);
  const decomposed = decomposeAll(graph);
  moveTemperatures(graph);
  return { graph, model, decomposed, notes };
}

function decomposeAll(graph: Graph): DecomposedOperator[] {
  const graphs = [graph];
  // The list grows while it is walked.
  for (const at of graphs) for (const node of at.nodes) for (const body of bodies(node)) graphs.push(at.body(body));
  if (!graphs.some((at) => at.nodes.some(isAttentionOperator))) return [];
  const pair = probePair(graph);
  if ("conflict" in pair) return [];
  const decomposed: DecomposedOperator[] = [];
  for (const at of graphs) {
    const info = at.outer === undefined ? pair.first.info : pair.first.bodies.get(at.proto);
    if (info === undefined) continue;
    const operators = at.nodes.filter(isAttentionOperator);
    for (const operator of operators) {
      const made = decomposeAttention(at, operator, info);
      if ("code" in made) continue;
      at.proto.node = at.proto.node.filter((node) => node !== operator);
      at.add(made.nodes, made.initializers);
      decomposed.push({ ...made, graph: at, operator });
    }
    if (operators.length > 0) at.reindex();
  }
  return decomposed;
}

/**
 * Restores the fused operators whose attention was not replaced: those whose product P.V is still in the graph. Their
 * plain nodes are dead then, and `removeDead` removes them.
 */
export function restoreFused(decomposed: readonly DecomposedOperator[]): void {
  for (const { graph, operator, product } of decomposed) {
    if (!graph.proto.node.includes(product)) continue;
    const outputs = new Set(operator.output);
    graph.proto.node = graph.proto.node.filter((node) => !node.output.some((name) => name !== "" && outputs.has(name)));
    graph.proto.node.push(operator);
    graph.reindex();
  }
}
