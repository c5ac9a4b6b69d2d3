import { jsonObject } from "../../formats/json.ts";
import { DataType } from "@favor/onnx";
import { activation } from "../activations.ts";
import { refuseVariants, variant, type Architecture } from "../architecture.ts";
import type { Configuration } from "../configuration.ts";
import { tokenClassifier } from "../heads.ts";
import { embedding, firstToken, layerNorm, linear, tiedDecoder, weight, type Building } from "../modules.ts";
import { rotaryFrequencies, rotation, type Rotation } from "../positions.ts";
import { vocabularySize } from "../post-norm-layer.ts";
import { additiveMask, headDim, selfAttention, windowMask } from "../self-attention.ts";
import type { Weights } from "../weights.ts";

const tokenEmbeddings = "embeddings.tok_embeddings";

type LayerType = "full_attention" | "sliding_attention";

interface ModernSizes {
  readonly hidden: number;
  readonly heads: number;
  readonly intermediate: number;
  readonly epsilon: number;
  readonly normBias: boolean;
}

const sizesOf = (config: Configuration): ModernSizes => ({
  hidden: config.size("hidden_size", 768),
  heads: config.size("num_attention_heads", 12),
  intermediate: config.size("intermediate_size", 1152),
  epsilon: config.positive("norm_eps", 1e-5),
  normBias: config.flag("norm_bias", false),
});

/** ModernBERT (2412.13663): rotary positions, gated feed-forward, and windows in two layers of three. */
export const modernbert: Architecture = {
  prefix: "model",
  embedding: tokenEmbeddings,
  hasTokenTypes: false,
  dispensable: /(^|\.)rotary_emb\.inv_freq$/,
  maskedLanguageWeight: "head.dense.weight",
  hidden: (config) => sizesOf(config).hidden,
  encode: (building, { inputIds, attentionMask }) => {
    const { graph, config, backbone } = building;
    refuseVariants(config, ["rotary", "absolute"]);
    const sizes = sizesOf(config);
    const vocabulary = vocabularySize(config, backbone, tokenEmbeddings);
    const rows = embedding(graph, backbone.within(tokenEmbeddings), inputIds, vocabulary, sizes.hidden);
    let x = norm(building, backbone.within("embeddings.norm"), rows);
    const kinds = layerTypes(config);
    const masks: Partial<Record<LayerType, string>> = {};
    const turns: Partial<Record<LayerType, Rotation>> = {};
    kinds.forEach((kind, index) => {
      masks[kind] ??=
        kind === "full_attention"
          ? additiveMask(graph, attentionMask)
          : windowMask(graph, inputIds, attentionMask, Math.trunc(config.size("local_attention", 128) / 2));
      turns[kind] ??= graph.within(kind, () => {
        const values = rotaryFrequencies(rotaryBase(config, kind), headDim(sizes));
        return rotation(graph, inputIds, graph.vector(`${kind}_frequencies`, values));
      });
      const [mask, turn] = [masks[kind], turns[kind]];
      const name = `layers.${index}`;
      x = graph.within(name, () => layer(building, backbone.within(name), x, mask, turn, index === 0));
    });
    return norm(building, backbone.within("final_norm"), x);
  },
  fillMask: (building, x) => {
    const { graph, config, backbone, heads } = building;
    const { hidden } = sizesOf(config);
    const vocabulary = vocabularySize(config, backbone, tokenEmbeddings);
    const predicted = predictionHead(building, x);
    const hasBias = config.flag("decoder_bias", true);
    if (!config.flag("tie_word_embeddings", true)) {
      return linear(graph, heads.within("decoder"), predicted, [hidden, vocabulary], hasBias);
    }
    const product = tiedDecoder(graph, backbone.within(tokenEmbeddings), predicted, [hidden, vocabulary]);
    return hasBias ? graph.op("Add", [product, weight(graph, heads, "decoder.bias", [vocabulary])]) : product;
  },
  classifySequence: (building, x, { attentionMask }) => {
    const { graph, config } = building;
    const pooling = config.text("classifier_pooling", "cls");
    if (pooling !== "cls" && pooling !== "mean")
      throw variant("classifier_pooling", pooling, "Supported are cls and mean");
    const pooled = pooling === "cls" ? firstToken(graph, x) : meanOfTokens(building, x, attentionMask);
    return tokenClassifier(building, predictionHead(building, pooled), sizesOf(config).hidden);
  },
  classifyTokens: (building, x) =>
    tokenClassifier(building, predictionHead(building, x), sizesOf(building.config).hidden),
};

function layerTypes(config: Configuration): LayerType[] {
  const layers = config.layers("num_hidden_layers", 22);
  const given = config.texts("layer_types");
  if (given.length === 0) {
    const every = config.size("global_attn_every_n_layers", 3);
    return Array.from({ length: layers }, (_, i) => (i % every === 0 ? "full_attention" : "sliding_attention"));
  }
  if (given.length !== layers || !given.every(isLayerType)) {
    throw variant("layer_types", given, `One of full_attention and sliding_attention is wanted for ${layers} layers`);
  }
  return [...given];
}

function isLayerType(kind: string): kind is LayerType {
  return kind === "full_attention" || kind === "sliding_attention";
}

/** The base of the rotary frequencies: `rope_parameters` of transformers 5, else the two values of transformers 4. */
function rotaryBase(config: Configuration, kind: LayerType): number {
  const parameters = jsonObject(jsonObject(config.raw("rope_parameters"))?.[kind]) ?? {};
  const { rope_type: type = "default", rope_theta: theta } = parameters;
  if (type !== "default" || config.raw("rope_scaling") !== undefined) {
    throw variant("rope_parameters", type, "Only the default rotary positions are supported");
  }
  if (typeof theta === "number" && theta > 0) return theta;
  return kind === "full_attention"
    ? config.positive("global_rope_theta", 160_000)
    : config.positive("local_rope_theta", 10_000);
}

function norm({ graph, config }: Building, weights: Weights, x: string): string {
  const { hidden, epsilon, normBias } = sizesOf(config);
  return layerNorm(graph, weights, x, hidden, epsilon, normBias);
}

function layer(
  building: Building,
  weights: Weights,
  x: string,
  mask: string,
  turn: Rotation,
  isFirst: boolean,
): string {
  const { graph, config } = building;
  const sizes = sizesOf(config);
  const { hidden, intermediate } = sizes;
  const attentionBias = config.flag("attention_bias", false);
  const mlpBias = config.flag("mlp_bias", false);
  const project = (name: string, input: string, dims: readonly [number, number], bias: boolean): string =>
    graph.within(name, () => linear(graph, weights.within(name), input, dims, bias));
  // The first layer has none, because the embeddings are already normalised.
  const normed = isFirst ? x : norm(building, weights.within("attn_norm"), x);
  const packed = project("attn.Wqkv", normed, [hidden, 3 * hidden], attentionBias);
  const [query, key, value] = graph.ops("Split", [packed], 3, { axis: { int: -1 } }) as [string, string, string];
  const attended = graph.within("attn", () =>
    selfAttention(graph, { query, key, value }, mask, sizes, { rotation: turn }),
  );
  const middle = graph.op("Add", [x, project("attn.Wo", attended, [hidden, hidden], attentionBias)]);
  const second = norm(building, weights.within("mlp_norm"), middle);
  const wide = project("mlp.Wi", second, [hidden, 2 * intermediate], mlpBias);
  const [input, gate] = graph.ops("Split", [wide], 2, { axis: { int: -1 } }) as [string, string];
  const active = activation(graph, config.text("hidden_activation", "gelu"), input);
  const gated = graph.op("Mul", [active, gate]);
  return graph.op("Add", [middle, project("mlp.Wo", gated, [intermediate, hidden], mlpBias)]);
}

/** norm(act(W x)), before every task's last layer. */
function predictionHead(building: Building, x: string): string {
  const { graph, config, heads } = building;
  const { hidden } = sizesOf(config);
  const bias = config.flag("classifier_bias", false);
  const dense = linear(graph, heads.within("head.dense"), x, [hidden, hidden], bias);
  const active = activation(graph, config.text("classifier_activation", "gelu"), dense);
  return norm(building, heads.within("head.norm"), active);
}

/** The mean over the tokens that are not padding: [batch, sequence, hidden] -> [batch, hidden]. */
function meanOfTokens({ graph }: Building, x: string, attentionMask: string): string {
  const mask = graph.op("Unsqueeze", [
    graph.op("Cast", [attentionMask], { to: { int: DataType.FLOAT } }),
    graph.integers(2),
  ]);
  const sum = (value: string): string => graph.op("ReduceSum", [value, graph.integers(1)], { keepdims: { int: 0 } });
  return graph.op("Div", [sum(graph.op("Mul", [x, mask])), sum(mask)]);
}
