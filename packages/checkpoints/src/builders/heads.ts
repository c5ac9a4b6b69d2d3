import { CheckpointError } from "../formats/errors.ts";
import { equalTensors } from "../formats/equal-tensors.ts";
import { activation } from "./activations.ts";
import { firstToken, layerNorm, linear, tiedDecoder, weight, type Building } from "./modules.ts";
import { vocabularySize } from "./post-norm-layer.ts";
import type { Weights } from "./weights.ts";

/** Logits over the vocabulary without their bias, and where the matrix comes from. */
interface Decoder {
  readonly embedding: string;
  /** The module that holds the matrix of an untied decoder. */
  readonly decoder: string;
}

/**
 * x W, [..., width] -> [..., vocabulary], by the token embedding (`tie_word_embeddings`, the default) or by the decoder's
 * own matrix. The weights count, not the flag: a tied decoder whose matrix is in the file, and is not the embedding, is
 * used as it is, with a note. transformers 5 does the same.
 */
export function decode(
  { graph, config, backbone, heads, notes }: Building,
  x: string,
  { embedding, decoder }: Decoder,
  [width, vocabulary]: readonly [number, number],
): string {
  const own = heads.within(decoder);
  const isTied = config.flag("tie_word_embeddings", true);
  const [kept, table] = [own.dims("weight"), backbone.dims(`${embedding}.weight`)];
  if (!isTied && kept === undefined) {
    throw new CheckpointError(
      "missing-weights",
      `config.json says that the decoder is not tied to the embedding (tie_word_embeddings is false), but the file has no ` +
        `${own.prefix}weight. If it was left out because it equals the embedding, set tie_word_embeddings to true.`,
      { missing: [`${own.prefix}weight`] },
    );
  }
  if (!isTied) return linear(graph, own, x, [width, vocabulary], false);
  if (kept !== undefined && table !== undefined) {
    const [matrix, embeddings] = [own.use("weight")!, backbone.use(`${embedding}.weight`)!];
    if (!equalTensors(matrix, embeddings)) {
      notes.push(
        `config.json ties the decoder to the embedding (tie_word_embeddings), but ${own.prefix}weight and ` +
          `${backbone.prefix}${embedding}.weight are both in the file and differ. The graph uses both as they are, like ` +
          "transformers 5; transformers 4 uses the embedding for both.",
      );
      return linear(graph, own, x, [width, vocabulary], false);
    }
  }
  return tiedDecoder(graph, backbone.within(embedding), x, [width, vocabulary]);
}

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
  building: Building,
  x: string,
  names: MaskedLanguageNames,
  { hidden, width, activation: name, epsilon }: MaskedLanguageSizes,
): string {
  const { graph, config, backbone, heads } = building;
  const vocabulary = vocabularySize(config, backbone, names.embedding);
  const dense = graph.within(names.dense, () => linear(graph, heads.within(names.dense), x, [hidden, width]));
  const active = graph.within("activation", () => activation(graph, name, dense));
  const normed = graph.within(names.norm, () => layerNorm(graph, heads.within(names.norm), active, width, epsilon));
  return graph.within(names.decoder, () => {
    const product = decode(building, normed, names, [width, vocabulary]);
    return graph.op("Add", [product, weight(graph, heads, decoderBias(building, names), [vocabulary])]);
  });
}

/** The decoder's bias, which checkpoints store under one of two names, or both. The decoder's own counts. */
function decoderBias({ config, heads, notes }: Building, { decoder, bias }: MaskedLanguageNames): string {
  const own = `${decoder}.bias`;
  if (own === bias || !heads.has(own)) return bias;
  if (!heads.has(bias)) return own;
  const [first, second] = [heads.use(bias)!, heads.use(own)!];
  const isTied = config.flag("tie_word_embeddings", true);
  if (!isTied) return own;
  if (equalTensors(first, second)) return bias;
  notes.push(
    `${heads.prefix}${bias} and ${heads.prefix}${own} are the same weight for transformers, but differ in the file. The ` +
      "graph uses the latter, like transformers 5.",
  );
  return own;
}

/** act(W x) of the first token, then `classifier` (a module with its own bias): RoBERTa's, ELECTRA's and ESM's head. */
export function firstTokenClassifier(
  building: Building,
  x: string,
  hidden: number,
  { dense, output, activation: name }: { dense: string; output: string; activation: string },
): string {
  const { graph, heads } = building;
  const first = linear(graph, heads.within(dense), firstToken(graph, x), [hidden, hidden]);
  const module = heads.within(output);
  return linear(graph, module, activation(graph, name, first), [hidden, labelCount(building, module)]);
}

/** tanh(W x) of the first token by the backbone's own pooler, then `classifier`: BERT's and ALBERT's head. */
export function pooledClassifier(building: Building, x: string, hidden: number, pooler: string): string {
  const { graph, backbone } = building;
  const pooled = linear(graph, backbone.within(pooler), firstToken(graph, x), [hidden, hidden]);
  return tokenClassifier(building, graph.op("Tanh", [pooled]), hidden);
}

/** `classifier`, for every token of [..., hidden]. */
export function tokenClassifier(building: Building, x: string, hidden: number): string {
  const module = building.heads.within("classifier");
  return linear(building.graph, module, x, [hidden, labelCount(building, module)]);
}

/** The labels of the graph's classifier, whose last matrix is `classifier.weight` or `classifier.out_proj.weight`. */
export function labelsOf({ config, heads }: Building, modules: readonly string[]): number {
  const rows = modules.map((name) => heads.dims(`${name}.weight`)?.[0]);
  return rows.find((count) => count !== undefined) ?? config.namedLabels() ?? 2;
}

/** The labels of a classifier: those that config.json names, or else as many as its matrix has rows. */
function labelCount({ config, notes }: Building, classifier: Weights): number {
  const named = config.namedLabels();
  const rows = classifier.dims("weight")?.[0];
  if (rows === undefined || rows === named) return named ?? 2;
  if (named === undefined) {
    if (rows !== 2) notes.push(`config.json names no labels; the classifier has ${rows}.`);
    return rows;
  }
  throw new CheckpointError(
    "shape-mismatch",
    `config.json names ${named} labels (id2label or num_labels), but ${JSON.stringify(`${classifier.prefix}weight`)} has ` +
      `${rows} rows. Give id2label the ${rows} labels that the classifier was trained for.`,
    { weight: `${classifier.prefix}weight`, rows, labels: named },
  );
}
