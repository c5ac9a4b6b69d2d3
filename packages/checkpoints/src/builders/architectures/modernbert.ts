import { CheckpointError } from "../../formats/errors.ts";
import { jsonObject } from "../../formats/json.ts";
import { DataType } from "@favor/onnx";
import { activation } from "../activations.ts";
import { refuseVariants, variant, type Architecture } from "../architecture.ts";
import type { Configuration } from "../configuration.ts";
import { decode, tokenClassifier } from "../heads.ts";
import { anyClassifier, maskedLanguage } from "../known-heads.ts";
import { embedding, firstToken, layerNorm, linear, weight, type Building } from "../modules.ts";
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

/** Settings of other heads, and of kinds of layers that a model may not have. */
const readElsewhere: readonly string[] = [
  "max_position_embeddings position_embedding_type global_attn_every_n_layers local_attention sliding_window",
  "global_rope_theta rope_theta local_rope_theta rope_parameters classifier_pooling classifier_activation classifier_bias",
].flatMap((names) => names.split(" "));

/** ModernBERT (2412.13663): rotary positions, gated feed-forward, and windows in two layers of three. */
export const modernbert: Architecture = {
  prefix: "model",
  embedding: tokenEmbeddings,
  firstMatrix: "layers.0.attn.Wqkv.weight",
  decoder: "decoder.weight",
  hasTokenTypes: false,
  synonyms: { global_rope_theta: ["rope_theta"] },
  ignored: (config) => ({
    layer_norm_eps: sizesOf(config).epsilon,
    hidden_act: config.text("hidden_activation", "gelu"),
    head_dim: headDim(sizesOf(config)),
    ...Object.fromEntries(readElsewhere.map((name) => [name, config.raw(name)])),
  }),
  heads: (_, heads) => {
    const hasClassifier = heads.has("classifier.weight");
    const hasDecoder = heads.has("decoder.weight") || heads.has("decoder.bias");
    return [
      ...(hasDecoder || !hasClassifier ? [maskedLanguage(/^(head\.(dense|norm)|decoder)\./)] : []),
      ...(hasClassifier ? [{ ...anyClassifier, weights: /^(head\.(dense|norm)|classifier)\./ }] : []),
    ];
  },
  dispensable: /(^|\.)rotary_emb\.inv_freq$/,
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
          : windowMask(graph, inputIds, attentionMask, windowReach(config));
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
    const names = { embedding: tokenEmbeddings, decoder: "decoder" };
    const product = decode(building, predicted, names, [hidden, vocabulary]);
    if (!config.flag("decoder_bias", true)) return product;
    return graph.op("Add", [product, weight(graph, heads, "decoder.bias", [vocabulary])]);
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

/** The kinds of the layers: `layer_types` of transformers 5, or every n-th of transformers 4, which must not contradict. */
function layerTypes(config: Configuration): LayerType[] {
  const layers = config.layers("num_hidden_layers", 22);
  const given = config.texts("layer_types");
  const every = config.size("global_attn_every_n_layers", 3);
  const regular = Array.from({ length: layers }, (_, i): LayerType =>
    i % every === 0 ? "full_attention" : "sliding_attention",
  );
  if (given.length === 0) return regular;
  if (given.length !== layers || !given.every(isLayerType)) {
    throw variant("layer_types", given, `One of full_attention and sliding_attention is wanted for ${layers} layers`);
  }
  if (config.has("global_attn_every_n_layers") && given.join() !== regular.join()) {
    throw contradiction("layer_types", given, "global_attn_every_n_layers", every);
  }
  return [...given];
}

function isLayerType(kind: string): kind is LayerType {
  return kind === "full_attention" || kind === "sliding_attention";
}

/** How far local attention sees: half of `local_attention`, which transformers 5 also calls `sliding_window`. */
function windowReach(config: Configuration): number {
  const reach = Math.trunc(config.size("local_attention", 128) / 2);
  if (!config.has("sliding_window")) return reach;
  const window = config.size("sliding_window", reach);
  if (config.has("local_attention") && window !== reach) {
    throw contradiction("sliding_window", window, "local_attention", config.raw("local_attention"));
  }
  return window;
}

/** What a kind of layer may say about its rotary positions in `rope_parameters`. */
const ropeKeys: readonly string[] = ["rope_theta", "rope_type", "type"];

/** The base of the rotary frequencies: `rope_parameters` of transformers 5, else the two values of transformers 4. */
function rotaryBase(config: Configuration, kind: LayerType): number {
  const all = jsonObject(config.raw("rope_parameters")) ?? {};
  const parameters = jsonObject(all[kind]) ?? {};
  const isKnown = Object.keys(all).every(isLayerType) && Object.keys(parameters).every((key) => ropeKeys.includes(key));
  const type = parameters["rope_type"] ?? parameters["type"] ?? "default";
  if (config.raw("rope_scaling") !== undefined) {
    throw variant("rope_scaling", config.raw("rope_scaling"), "Only the default rotary positions are supported");
  }
  if (!isKnown || type !== "default") {
    throw variant(
      "rope_parameters",
      all,
      "Only the default rotary positions are supported, with a rope_theta for each of full_attention and sliding_attention",
    );
  }
  const former = formerBase(config, kind);
  const theta = parameters["rope_theta"] ?? undefined;
  if (theta === undefined) return former.value;
  if (typeof theta !== "number" || !(theta > 0)) {
    throw variant("rope_parameters", all, "A rope_theta is a positive number");
  }
  if (former.isGiven && former.value !== theta) {
    throw contradiction(`rope_parameters.${kind}.rope_theta`, theta, former.name, former.value);
  }
  return theta;
}

/** The setting of transformers 4. Without a base of their own (null), local layers have the global one. */
function formerBase(config: Configuration, kind: LayerType): { name: string; value: number; isGiven: boolean } {
  const isLocal =
    kind === "sliding_attention" && !(config.has("local_rope_theta") && isNull(config, "local_rope_theta"));
  const name = isLocal ? "local_rope_theta" : "global_rope_theta";
  return { name, value: config.positive(name, isLocal ? 10_000 : 160_000), isGiven: config.has(name) };
}

function isNull(config: Configuration, name: string): boolean {
  return config.raw(name) === undefined;
}

function contradiction(name: string, value: unknown, other: string, otherValue: unknown): CheckpointError {
  return new CheckpointError(
    "bad-config",
    `config.json contradicts itself: ${name} is ${JSON.stringify(value)}, and ${other} is ${JSON.stringify(otherValue)}. ` +
      "transformers 4 and 5 each read only one of them. Remove the wrong one.",
    { name, other },
  );
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
