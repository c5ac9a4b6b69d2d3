import { activation } from "./activations.ts";
import type { GraphWriter } from "./graph-writer.ts";
import { embedding, layerNorm, linear, type Building } from "./modules.ts";
import { selfAttention } from "./self-attention.ts";
import type { Weights } from "./weights.ts";

/** Settings that all layers of an encoder share. */
export interface LayerSizes {
  readonly hidden: number;
  readonly heads: number;
  readonly intermediate: number;
  readonly activation: string;
  readonly epsilon: number;
}

/** An architecture's names for the modules of a layer. */
export interface LayerNames {
  readonly query: string;
  readonly key: string;
  readonly value: string;
  readonly attentionOutput: string;
  readonly attentionNorm: string;
  readonly intermediate: string;
  readonly output: string;
  readonly outputNorm: string;
}

/**
 * A layer of the original Transformer (1706.03762), with the norm after each residual sum:
 * x' = norm(x + attention(x)), norm(x' + W act(W x')). Hidden states are [batch, sequence, hidden].
 */
export function postNormLayer(
  graph: GraphWriter,
  layer: Weights,
  x: string,
  mask: string,
  sizes: LayerSizes,
  names: LayerNames,
): string {
  const { hidden, intermediate, epsilon } = sizes;
  const project = (name: string, input: string, dims: readonly [number, number]): string =>
    graph.within(name, () => linear(graph, layer.within(name), input, dims));
  const normed = (name: string, sum: readonly [string, string]): string =>
    graph.within(name, () => layerNorm(graph, layer.within(name), graph.op("Add", sum), hidden, epsilon));
  const square = [hidden, hidden] as const;
  const attended = graph.within("attention", () =>
    selfAttention(
      graph,
      {
        query: project(names.query, x, square),
        key: project(names.key, x, square),
        value: project(names.value, x, square),
      },
      mask,
      sizes,
    ),
  );
  const middle = normed(names.attentionNorm, [project(names.attentionOutput, attended, square), x]);
  const wide = project(names.intermediate, middle, [hidden, intermediate]);
  const active = graph.within("activation", () => activation(graph, sizes.activation, wide));
  return normed(names.outputNorm, [project(names.output, active, [intermediate, hidden]), middle]);
}

/**
 * The sum of token, position and token type embeddings, normalised, [batch, sequence, width]. `positions` are int64
 * [sequence] or [batch, sequence]. `tokenTypes` are int64 [batch, sequence]; undefined if the weights have no types;
 * "first" if every token is of the first type.
 */
export function summedEmbeddings(
  { graph, config, backbone }: Building,
  inputIds: string,
  positions: string,
  tokenTypes: string | undefined,
  sizes: { readonly width: number; readonly epsilon: number },
): string {
  const { width, epsilon } = sizes;
  const weights = backbone.within("embeddings");
  const rows = (name: string, ids: string, count: number): string =>
    graph.within(name, () => embedding(graph, weights.within(name), ids, count, width));
  return graph.within("embeddings", () => {
    let sum = rows("word_embeddings", inputIds, vocabularySize(config, backbone, "embeddings.word_embeddings"));
    if (tokenTypes !== undefined) {
      const types = tokenTypes === "first" ? graph.integer(0) : tokenTypes;
      sum = graph.op("Add", [sum, rows("token_type_embeddings", types, config.size("type_vocab_size", 2))]);
    }
    const table = rows("position_embeddings", positions, config.size("max_position_embeddings", 512));
    sum = graph.op("Add", [sum, table]);
    return graph.within("LayerNorm", () => layerNorm(graph, weights.within("LayerNorm"), sum, width, epsilon));
  });
}

/** `vocab_size`, or the rows of the embedding if the configuration has none, or null. */
export function vocabularySize(config: Building["config"], backbone: Weights, embeddingName: string): number {
  const rows = backbone.dims(`${embeddingName}.weight`)?.[0] ?? 1;
  return config.raw("vocab_size") === undefined ? rows : config.size("vocab_size", rows);
}
