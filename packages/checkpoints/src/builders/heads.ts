import { activation } from "./activations.ts";
import { firstToken, layerNorm, linear, tiedDecoder, weight, type Building } from "./modules.ts";
import { vocabularySize } from "./post-norm-layer.ts";

/** An architecture's names for the parts of its masked language model's head. */
export interface MaskedLanguageNames {
  readonly dense: string;
  readonly norm: string;
  readonly decoder: string;
  /** The decoder's bias, if tied. */
  readonly bias: string;
  /** The name of the token embedding within the backbone. */
  readonly embedding: string;
}

export interface MaskedLanguageSizes {
  readonly hidden: number;
  /** of the token embedding */
  readonly width: number;
  readonly activation: string;
  readonly epsilon: number;
}

/**
 * Logits over the vocabulary: norm(act(W x)) times the token embedding (`tie_word_embeddings`, the default) or a matrix
 * of its own, plus a bias.
 */
export function maskedLanguageHead(
  { graph, config, backbone, heads }: Building,
  x: string,
  names: MaskedLanguageNames,
  { hidden, width, activation: name, epsilon }: MaskedLanguageSizes,
): string {
  const vocabulary = vocabularySize(config, backbone, names.embedding);
  const dense = graph.within(names.dense, () => linear(graph, heads.within(names.dense), x, [hidden, width]));
  const active = graph.within("activation", () => activation(graph, name, dense));
  const normed = graph.within(names.norm, () => layerNorm(graph, heads.within(names.norm), active, width, epsilon));
  const decoderBias = `${names.decoder}.bias`;
  return graph.within(names.decoder, () => {
    if (!config.flag("tie_word_embeddings", true)) {
      const decoder = heads.within(names.decoder);
      if (heads.has(decoderBias)) return linear(graph, decoder, normed, [width, vocabulary]);
      const product = linear(graph, decoder, normed, [width, vocabulary], false);
      return graph.op("Add", [product, weight(graph, heads, names.bias, [vocabulary])]);
    }
    const product = tiedDecoder(graph, backbone.within(names.embedding), normed, [width, vocabulary]);
    // Checkpoints store a tied bias under one of its two names, or both.
    const bias = heads.has(names.bias) || !heads.has(decoderBias) ? names.bias : decoderBias;
    return graph.op("Add", [product, weight(graph, heads, bias, [vocabulary])]);
  });
}

/** act(W x) of the first token, then `classifier` (a module with its own bias): RoBERTa's, ELECTRA's and ESM's head. */
export function firstTokenClassifier(
  { graph, config, heads }: Building,
  x: string,
  hidden: number,
  { dense, output, activation: name }: { dense: string; output: string; activation: string },
): string {
  const first = linear(graph, heads.within(dense), firstToken(graph, x), [hidden, hidden]);
  return linear(graph, heads.within(output), activation(graph, name, first), [hidden, config.labels()]);
}

/** tanh(W x) of the first token by the backbone's own pooler, then `classifier`: BERT's and ALBERT's head. */
export function pooledClassifier(building: Building, x: string, hidden: number, pooler: string): string {
  const { graph, backbone } = building;
  const pooled = linear(graph, backbone.within(pooler), firstToken(graph, x), [hidden, hidden]);
  return tokenClassifier(building, graph.op("Tanh", [pooled]), hidden);
}

/** `classifier`, for every token of [..., hidden]. */
export function tokenClassifier({ graph, config, heads }: Building, x: string, hidden: number): string {
  return linear(graph, heads.within("classifier"), x, [hidden, config.labels()]);
}
