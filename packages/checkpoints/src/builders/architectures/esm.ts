import { DataType } from "@favor/onnx";
import { equalTensors } from "../../formats/equal-tensors.ts";
import { CheckpointError } from "../../formats/errors.ts";
import { activation } from "../activations.ts";
import { refuseVariants, variant, type Architecture, type TokenInputs } from "../architecture.ts";
import type { Configuration } from "../configuration.ts";
import { firstTokenClassifier, maskedLanguageHead, tokenClassifier } from "../heads.ts";
import { denseClassifiers, maskedLanguage } from "../known-heads.ts";
import { embedding, layerNorm, linear, weight, type Building } from "../modules.ts";
import { positionsAfterPadding, rotaryFrequencies, rotation, type Rotation } from "../positions.ts";
import { vocabularySize } from "../post-norm-layer.ts";
import { additiveMask, headDim, selfAttention } from "../self-attention.ts";
import type { Weights } from "../weights.ts";

const wordEmbeddings = "embeddings.word_embeddings";
/** The share of tokens that were masked when ESM-2 was trained: 15 %, of which 80 % by the mask token. */
const trainedMaskRatio = 0.15 * 0.8;

interface EsmSizes {
  readonly hidden: number;
  readonly heads: number;
  readonly intermediate: number;
  readonly epsilon: number;
}

const sizesOf = (config: Configuration): EsmSizes => ({
  hidden: config.size("hidden_size", 768),
  heads: config.size("num_attention_heads", 12),
  intermediate: config.size("intermediate_size", 3072),
  epsilon: config.positive("layer_norm_eps", 1e-12),
});

const hidden = (config: Configuration): number => sizesOf(config).hidden;
const isRotary = (config: Configuration): boolean => config.text("position_embedding_type", "absolute") === "rotary";

/** ESM-2 (rotary positions, token dropout) and ESM-1b (absolute positions), norms before attention and feed-forward. */
export const esm: Architecture = {
  prefix: "esm",
  embedding: wordEmbeddings,
  firstMatrix: "encoder.layer.0.attention.self.query.weight",
  decoder: "lm_head.decoder.weight",
  hasTokenTypes: false,
  ignored: (config) => ({
    hidden_act: "gelu",
    head_dim: headDim(sizesOf(config)),
    rope_theta: config.raw("rope_theta"),
    max_position_embeddings: config.raw("max_position_embeddings"),
  }),
  dispensable:
    /^(embeddings\.(position_ids|position_embeddings\.weight)|pooler\..*|contact_head\..*|(.*\.)?rotary_embeddings\.inv_freq)$/,
  heads: () => [maskedLanguage(/^lm_head\./), ...denseClassifiers],
  hidden,
  encode: (building, inputs) => {
    const { graph, config, backbone } = building;
    refuseVariants(config, ["absolute", "rotary"]);
    if (config.flag("is_folding_model", false)) throw variant("is_folding_model", true, "ESMFold is not built");
    const sizes = sizesOf(config);
    let x = graph.within("embeddings", () => embeddings(building, inputs, sizes));
    const mask = additiveMask(graph, inputs.attentionMask);
    const turn = isRotary(config) ? rotation(graph, inputs.inputIds, frequencies(building, sizes)) : undefined;
    for (let index = 0; index < config.layers("num_hidden_layers", 12); index++) {
      const name = `encoder.layer.${index}`;
      x = graph.within(name, () => layer(building, backbone.within(name), x, mask, turn, sizes));
    }
    const last = backbone.within("encoder.emb_layer_norm_after");
    return layerNorm(graph, last, x, sizes.hidden, sizes.epsilon);
  },
  fillMask: (building, x) => {
    const sizes = sizesOf(building.config);
    const names = {
      dense: "lm_head.dense",
      norm: "lm_head.layer_norm",
      decoder: "lm_head.decoder",
      bias: "lm_head.bias",
      embedding: wordEmbeddings,
    };
    return maskedLanguageHead(building, x, names, { ...sizes, width: sizes.hidden, activation: "gelu" });
  },
  classifySequence: (building, x) =>
    firstTokenClassifier(building, x, hidden(building.config), {
      dense: "classifier.dense",
      output: "classifier.out_proj",
      activation: "tanh",
    }),
  classifyTokens: (building, x) => tokenClassifier(building, x, hidden(building.config)),
};

function embeddings(building: Building, { inputIds, attentionMask }: TokenInputs, sizes: EsmSizes): string {
  const { graph, config, backbone } = building;
  const vocabulary = vocabularySize(config, backbone, wordEmbeddings);
  let x = embedding(graph, backbone.within(wordEmbeddings), inputIds, vocabulary, sizes.hidden);
  if (config.flag("token_dropout", false)) x = dropMaskTokens(building, x, inputIds, attentionMask);
  if (!isRotary(config)) {
    if (!config.has("pad_token_id")) {
      throw new CheckpointError(
        "bad-config",
        "config.json has no pad_token_id, from which ESM counts positions. Restore the checkpoint's original file.",
        { name: "pad_token_id" },
      );
    }
    const positions = positionsAfterPadding(graph, inputIds, config.index("pad_token_id", 1));
    const rows = config.size("max_position_embeddings", 1026);
    const table = backbone.within("embeddings.position_embeddings");
    x = graph.op("Add", [x, embedding(graph, table, positions, rows, sizes.hidden)]);
  }
  if (config.flag("emb_layer_norm_before", false)) {
    x = layerNorm(graph, backbone.within("embeddings.layer_norm"), x, sizes.hidden, sizes.epsilon);
  }
  const mask = graph.op("Cast", [attentionMask], { to: { int: DataType.FLOAT } });
  return graph.op("Mul", [x, graph.op("Unsqueeze", [mask, graph.integers(2)])]);
}

/**
 * Mask tokens become zeros, and the others are scaled to the share of masks seen in training:
 * x (1 - 0.12) / (1 - masks / tokens).
 */
function dropMaskTokens({ graph, config }: Building, x: string, inputIds: string, attentionMask: string): string {
  const maskToken = config.raw("mask_token_id");
  if (maskToken === undefined) throw variant("mask_token_id", null, "token_dropout needs a mask token");
  const toFloat = (value: string): string => graph.op("Cast", [value], { to: { int: DataType.FLOAT } });
  const sum = (value: string): string => graph.op("ReduceSum", [value, graph.integers(1)], { keepdims: { int: 1 } });
  const isMask = toFloat(graph.op("Equal", [inputIds, graph.integer(config.index("mask_token_id", 0))]));
  const kept = graph.op("Sub", [graph.scalar(1), isMask]);
  const observed = graph.op("Div", [sum(isMask), sum(toFloat(attentionMask))]);
  const scale = graph.op("Div", [graph.scalar(1 - trainedMaskRatio), graph.op("Sub", [graph.scalar(1), observed])]);
  const factor = graph.op("Unsqueeze", [graph.op("Mul", [kept, scale]), graph.integers(2)]);
  return graph.op("Mul", [x, factor]);
}

/**
 * The rotary frequencies, [dim / 2]: those of the checkpoint if it has them, because they may have been rounded to
 * float16 in training.
 */
function frequencies({ graph, config, backbone }: Building, sizes: EsmSizes): string {
  const dim = headDim(sizes);
  const stored = backbone.names().filter((name) => /(^|\.)rotary_embeddings\.inv_freq$/.test(name));
  const [first, ...others] = stored;
  const tensors = stored.map((name) => backbone.use(name)!);
  if (others.some((_, index) => !equalTensors(tensors[index + 1]!, tensors[0]!))) {
    throw variant("rotary_embeddings", stored.length, "The layers' rotary frequencies (inv_freq) differ");
  }
  if (first !== undefined) return weight(graph, backbone, first, [dim / 2]);
  return graph.vector("rotary_frequencies", rotaryFrequencies(config.positive("rope_theta", 10_000), dim));
}

function layer(
  { graph }: Building,
  weights: Weights,
  x: string,
  mask: string,
  turn: Rotation | undefined,
  sizes: EsmSizes,
): string {
  const { hidden: width, intermediate, epsilon } = sizes;
  const project = (name: string, input: string, dims: readonly [number, number]): string =>
    graph.within(name, () => linear(graph, weights.within(name), input, dims));
  const square = [width, width] as const;
  const normed = layerNorm(graph, weights.within("attention.LayerNorm"), x, width, epsilon);
  const attended = graph.within("attention", () => {
    const [query, key, value] = ["query", "key", "value"].map((name) =>
      project(`attention.self.${name}`, normed, square),
    ) as [string, string, string];
    const options = { scaleQuery: true, ...(turn === undefined ? {} : { rotation: turn }) };
    return selfAttention(graph, { query, key, value }, mask, sizes, options);
  });
  const middle = graph.op("Add", [project("attention.output.dense", attended, square), x]);
  const second = layerNorm(graph, weights.within("LayerNorm"), middle, width, epsilon);
  const wide = activation(graph, "gelu", project("intermediate.dense", second, [width, intermediate]));
  return graph.op("Add", [project("output.dense", wide, [intermediate, width]), middle]);
}
