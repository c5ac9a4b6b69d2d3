import { transposedInitializer, weightInitializer } from "./initializer.ts";
import type { Configuration } from "./configuration.ts";
import type { GraphWriter } from "./graph-writer.ts";
import type { Weights } from "./weights.ts";

/** What is needed to build a graph. */
export interface Building {
  readonly graph: GraphWriter;
  readonly config: Configuration;
  /** weights of the backbone, named without its prefix */
  readonly backbone: Weights;
  /** weights of the heads */
  readonly heads: Weights;
  /** What the user should know about the graph; building adds to it. */
  readonly notes: string[];
}

/** torch.nn.Linear: x [..., input] -> x W + b [..., output]. `weights` are its own; without `bias` it has none. */
export function linear(
  graph: GraphWriter,
  weights: Weights,
  x: string,
  [input, output]: readonly [number, number],
  bias = true,
): string {
  const matrix = graph.initializer(transposedInitializer(weights.take("weight", [output, input])));
  const product = graph.op("MatMul", [x, matrix]);
  return bias ? graph.op("Add", [product, weight(graph, weights, "bias", [output])]) : product;
}

/** torch.nn.LayerNorm over the last axis, of `size` elements. */
export function layerNorm(
  graph: GraphWriter,
  weights: Weights,
  x: string,
  size: number,
  epsilon: number,
  bias = true,
): string {
  const inputs = [x, weight(graph, weights, "weight", [size])];
  if (bias) inputs.push(weight(graph, weights, "bias", [size]));
  return graph.op("LayerNormalization", inputs, { axis: { int: -1 }, epsilon: { float: epsilon } });
}

/** torch.nn.Embedding: ids [...] -> rows [..., width]. */
export function embedding(graph: GraphWriter, weights: Weights, ids: string, rows: number, width: number): string {
  return graph.op("Gather", [weight(graph, weights, "weight", [rows, width]), ids], { axis: { int: 0 } });
}

/** A weight as an initializer, unchanged. */
export function weight(graph: GraphWriter, weights: Weights, name: string, dims: readonly number[]): string {
  return graph.initializer(weightInitializer(weights.take(name, dims)));
}

/**
 * Logits over the vocabulary, x [..., width] -> [..., vocabulary], from the embedding's matrix (a tied decoder). It is
 * transposed in the graph, so that the file has the embedding only once; runtimes fold the transposition.
 */
export function tiedDecoder(
  graph: GraphWriter,
  embeddings: Weights,
  x: string,
  [width, vocabulary]: readonly [number, number],
): string {
  const table = weight(graph, embeddings, "weight", [vocabulary, width]);
  return graph.op("MatMul", [x, graph.op("Transpose", [table], { perm: { ints: [1, 0] } })]);
}

/** The first token of every row: x [batch, sequence, width] -> [batch, width]. */
export function firstToken(graph: GraphWriter, x: string): string {
  return graph.op("Gather", [x, graph.integer(0)], { axis: { int: 1 } });
}
